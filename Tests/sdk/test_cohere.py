"""The `cohere` package, by its second API, through the edge."""

import json

import pytest
from callers import OPENAI_TOOL, Caller, prompt
from conftest import KEY, WRONG_KEY
from spent_cap import books_are_the_bill, check_details, refused_at_once

cohere = pytest.importorskip("cohere")
from cohere.core.api_error import ApiError  # noqa: E402: there is nothing before the skip

# Of the SDK's own making.
pytestmark = pytest.mark.filterwarnings("ignore:The `__fields__` attribute is deprecated")

MODEL = "command-a-03-2025"


class CohereCaller(Caller):
    blocking = cohere.ClientV2
    asyncio = cohere.AsyncClientV2
    suffix = "/cohere"
    refused = ApiError

    @staticmethod
    def status(error):
        return error.status_code

    @staticmethod
    def arguments(content=None, limit=64, **more):
        return {
            "model": MODEL,
            "messages": [{"role": "user", "content": content or prompt()}],
            "max_tokens": limit,
            **more,
        }

    def create(self, content=None, **more):
        arguments = self.arguments(content, **more)

        async def coroutine(client):
            return await client.chat(**arguments)

        return self._run(lambda client: client.chat(**arguments), coroutine)

    def stream(self, content=None, **more):
        arguments = self.arguments(content, **more)

        async def coroutine(client):
            return [event async for event in client.chat_stream(**arguments)]

        return self._run(lambda client: list(client.chat_stream(**arguments)), coroutine)


def caller_of(stack, mode, key=KEY):
    return CohereCaller(stack.edge.url, key, mode)


def of_type(events, kind):
    return [event for event in events if event.type == kind]


def test_a_plain_answer_arrives_with_its_usage(roomy, mode):
    answer = caller_of(roomy, mode).create(prompt(tokens=12))
    assert answer.message.content[0].text.startswith("the river runs")
    assert answer.finish_reason == "COMPLETE"
    assert answer.usage.billed_units.output_tokens == 12
    books_are_the_bill(roomy)


def test_a_stream_arrives_piece_by_piece(roomy, mode):
    events = caller_of(roomy, mode).stream(prompt(tokens=12))
    pieces = [event.delta.message.content.text for event in of_type(events, "content-delta")]
    assert len(pieces) == 12
    assert "".join(pieces).startswith("the river runs")
    assert events[0].type == "message-start"
    assert events[-1].type == "message-end"
    assert events[-1].delta.finish_reason == "COMPLETE"
    assert events[-1].delta.usage.billed_units.output_tokens == 12
    books_are_the_bill(roomy)


def test_a_tool_call_arrives(roomy, mode):
    answer = caller_of(roomy, mode).create(prompt(8, "[[tool]]"), tools=[OPENAI_TOOL])
    assert answer.finish_reason == "TOOL_CALL"
    (call,) = answer.message.tool_calls
    assert call.function.name == "take_note"
    assert json.loads(call.function.arguments)["note"].startswith("river runs")
    books_are_the_bill(roomy)


def test_a_tool_call_is_streamed(roomy, mode):
    events = caller_of(roomy, mode).stream(prompt(8, "[[tool]]"), tools=[OPENAI_TOOL])
    (begin,) = of_type(events, "tool-call-start")
    assert begin.delta.message.tool_calls.function.name == "take_note"
    # A call begins with the first of its arguments, or with none of them.
    calls = [begin, *of_type(events, "tool-call-delta")]
    pieces = [event.delta.message.tool_calls.function.arguments for event in calls]
    assert json.loads("".join(piece or "" for piece in pieces))["note"].startswith("river runs")
    assert events[-1].delta.finish_reason == "TOOL_CALL"
    books_are_the_bill(roomy)


@pytest.mark.parametrize("is_streamed", [False, True], ids=["plain", "streamed"])
def test_a_spent_cap_is_not_retried(small, mode, is_streamed):
    error = refused_at_once(small, caller_of(small, mode), is_streamed)
    assert error.body["message"].startswith("Spend cap reached")
    assert "retry-after" not in error.headers, "the SDK would sleep for it"
    check_details(error.body["holdfast"])


@pytest.mark.parametrize(
    ("change", "error", "status"),
    [
        ({"key": WRONG_KEY}, cohere.UnauthorizedError, 401),
        ({"model": "command-nonesuch"}, cohere.NotFoundError, 404),
        ({"limit": -1}, cohere.BadRequestError, 400),
    ],
    ids=["unknown key", "unknown model", "negative limit"],
)
def test_a_mistake_raises_the_sdks_own_exception(roomy, mode, change, error, status):
    change = dict(change)
    key = {"key": change.pop("key")} if "key" in change else {}
    received = roomy.provider.received()
    with pytest.raises(error) as caught:
        caller_of(roomy, mode, **key).create(**change)
    assert caught.value.status_code == status
    assert roomy.provider.received() == received, "it reached the provider"
