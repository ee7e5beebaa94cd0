"""The `openai` package's responses, by OpenAI's own path and by the one that names it."""

import json

import openai
import pytest
from callers import OPENAI_MODEL, Caller, prompt
from conftest import KEY, WRONG_KEY
from spent_cap import books_are_the_bill, check_details, refused_at_once

TOOL = {
    "type": "function",
    "name": "take_note",
    "parameters": {"type": "object", "properties": {"note": {"type": "string"}}},
    "strict": False,
}


class ResponsesCaller(Caller):
    blocking = openai.OpenAI
    asyncio = openai.AsyncOpenAI
    suffix = "/openai/v1"
    refused = openai.APIStatusError

    @staticmethod
    def status(error):
        return error.status_code

    @staticmethod
    def arguments(content=None, limit=64, **more):
        return {
            "model": OPENAI_MODEL,
            "input": content or prompt(),
            "max_output_tokens": limit,
            **more,
        }

    def create(self, content=None, **more):
        arguments = self.arguments(content, **more)

        async def coroutine(client):
            return await client.responses.create(**arguments)

        return self._run(lambda client: client.responses.create(**arguments), coroutine)

    def stream(self, content=None, **more):
        arguments = {**self.arguments(content, **more), "stream": True}

        async def coroutine(client):
            return [event async for event in await client.responses.create(**arguments)]

        return self._run(lambda client: list(client.responses.create(**arguments)), coroutine)

    def accumulate(self, content=None, **more):
        """The events and the final response, as the SDK's own stream helper gives them."""
        arguments = self.arguments(content, **more)

        def blocking(client):
            with client.responses.stream(**arguments) as stream:
                return list(stream), stream.get_final_response()

        async def coroutine(client):
            async with client.responses.stream(**arguments) as stream:
                events = [event async for event in stream]
                return events, await stream.get_final_response()

        return self._run(blocking, coroutine)


def caller_of(stack, mode, key=KEY):
    return ResponsesCaller(stack.edge.url, key, mode)


def test_a_plain_answer_arrives_with_its_usage(roomy, mode):
    answer = caller_of(roomy, mode).create(prompt(tokens=12))
    assert answer.output_text.startswith("the river runs")
    assert answer.status == "completed"
    assert answer.usage.output_tokens == 12
    assert answer.usage.total_tokens == answer.usage.input_tokens + 12
    books_are_the_bill(roomy)


def test_a_list_of_messages_is_served(roomy, mode):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": prompt(tokens=12)}]},
    ]
    answer = caller_of(roomy, mode).create(messages)
    assert answer.output_text.startswith("the river runs")
    assert answer.usage.output_tokens == 12
    books_are_the_bill(roomy)


def test_the_path_without_the_provider_is_served(roomy):
    with openai.OpenAI(base_url=roomy.edge.url + "/v1", api_key=KEY) as client:
        answer = client.responses.create(**ResponsesCaller.arguments(prompt(tokens=12)))
    assert answer.usage.output_tokens == 12


def test_a_stream_arrives_piece_by_piece(roomy, mode):
    events = caller_of(roomy, mode).stream(prompt(tokens=12))
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(pieces) == 12
    assert "".join(pieces).startswith("the river runs")
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.usage.output_tokens == 12
    books_are_the_bill(roomy)


def test_the_sdk_puts_a_stream_together(roomy, mode):
    events, answer = caller_of(roomy, mode).accumulate(prompt(tokens=12))
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert answer.output_text == "".join(pieces)
    assert answer.usage.output_tokens == 12


def test_a_tool_call_arrives(roomy, mode):
    answer = caller_of(roomy, mode).create(prompt(8, "[[tool]]"), tools=[TOOL])
    (call,) = [item for item in answer.output if item.type == "function_call"]
    assert call.name == "take_note"
    assert json.loads(call.arguments)["note"].startswith("river runs")
    books_are_the_bill(roomy)


def test_a_tool_call_is_streamed(roomy, mode):
    events, answer = caller_of(roomy, mode).accumulate(prompt(8, "[[tool]]"), tools=[TOOL])
    kind = "response.function_call_arguments.delta"
    arguments = "".join(event.delta for event in events if event.type == kind)
    (call,) = [item for item in answer.output if item.type == "function_call"]
    assert call.name == "take_note"
    assert call.arguments == arguments
    assert json.loads(arguments)["note"].startswith("river runs")
    books_are_the_bill(roomy)


@pytest.mark.parametrize("is_streamed", [False, True], ids=["plain", "streamed"])
def test_a_spent_cap_is_not_retried(small, mode, is_streamed):
    error = refused_at_once(small, caller_of(small, mode), is_streamed)
    assert error.code == "spend_cap_reached"
    assert error.type == "insufficient_quota"
    check_details(error.body["holdfast"])


@pytest.mark.parametrize(
    ("change", "error", "status"),
    [
        ({"key": WRONG_KEY}, openai.AuthenticationError, 401),
        ({"model": "gpt-nonesuch"}, openai.NotFoundError, 404),
        # Runs at the provider, at a price of its own.
        ({"tools": [{"type": "web_search"}]}, openai.UnprocessableEntityError, 422),
        # The usage comes when nobody listens any more.
        ({"background": True}, openai.UnprocessableEntityError, 422),
        ({"previous_response_id": "resp_1"}, openai.UnprocessableEntityError, 422),
    ],
    ids=["unknown key", "unknown model", "hosted tool", "background", "input from elsewhere"],
)
def test_what_cannot_be_capped_is_refused(roomy, mode, change, error, status):
    change = dict(change)
    key = {"key": change.pop("key")} if "key" in change else {}
    received = roomy.provider.received()
    with pytest.raises(error) as caught:
        caller_of(roomy, mode, **key).create(**change)
    assert caught.value.status_code == status
    assert WRONG_KEY not in str(caught.value)
    assert roomy.provider.received() == received, "it reached the provider"
