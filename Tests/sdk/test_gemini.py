"""The `google-genai` package through the edge. The model is in the path, the key in a header."""

import pytest
from callers import Caller, prompt
from conftest import KEY, WRONG_KEY
from spent_cap import books_are_the_bill, check_details, refused_at_once

genai = pytest.importorskip("google.genai")
from google.genai import errors, types  # noqa: E402: there is nothing before the skip

MODEL = "gemini-2.5-flash"
TOOL = {
    "function_declarations": [
        {
            "name": "take_note",
            "description": "Keeps a note.",
            "parameters": {"type": "OBJECT", "properties": {"note": {"type": "STRING"}}},
        }
    ]
}


class GeminiCaller(Caller):
    """The SDK does not retry unless it is told to: here it is, with its own defaults."""

    refused = errors.APIError

    def __init__(self, url, key, mode, version="v1beta"):
        self._options = {
            "api_key": key,
            "vertexai": False,
            "http_options": types.HttpOptions(
                base_url=url + "/gemini",
                api_version=version,
                timeout=30_000,
                retry_options=types.HttpRetryOptions(),
            ),
        }
        self._is_async = mode == "async"

    @staticmethod
    def blocking(**options):
        return genai.Client(**options)

    @staticmethod
    def asyncio(**options):
        return genai.Client(**options).aio

    @staticmethod
    def status(error):
        return error.code

    @staticmethod
    def arguments(content=None, limit=64, model=MODEL, **config):
        return {
            "model": model,
            "contents": content or prompt(),
            "config": {
                "max_output_tokens": limit,
                "automatic_function_calling": {"disable": True},
                **config,
            },
        }

    def create(self, content=None, **more):
        arguments = self.arguments(content, **more)

        async def coroutine(client):
            return await client.models.generate_content(**arguments)

        return self._run(lambda client: client.models.generate_content(**arguments), coroutine)

    def stream(self, content=None, **more):
        arguments = self.arguments(content, **more)

        def blocking(client):
            return list(client.models.generate_content_stream(**arguments))

        async def coroutine(client):
            chunks = await client.models.generate_content_stream(**arguments)
            return [chunk async for chunk in chunks]

        return self._run(blocking, coroutine)



def caller_of(stack, mode, key=KEY, **options):
    return GeminiCaller(stack.edge.url, key, mode, **options)


def texts(answer):
    """Without the SDK's warning about parts that are none."""
    return [part.text for part in answer.candidates[0].content.parts or [] if part.text]


def test_a_plain_answer_arrives_with_its_usage(roomy, mode):
    answer = caller_of(roomy, mode).create(prompt(tokens=12))
    assert answer.text.startswith("the river runs")
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.usage_metadata.candidates_token_count == 12
    books_are_the_bill(roomy)


def test_the_version_that_the_sdk_chooses_is_served(roomy, mode):
    answer = caller_of(roomy, mode, version=None).create(prompt(tokens=12))
    assert answer.usage_metadata.candidates_token_count == 12


def test_a_stream_arrives_piece_by_piece(roomy, mode):
    chunks = caller_of(roomy, mode).stream(prompt(tokens=12))
    pieces = [
        text
        for chunk in chunks
        if chunk.candidates and chunk.candidates[0].content
        for text in texts(chunk)
    ]
    assert len(pieces) == 12
    assert "".join(pieces).startswith("the river runs")
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert chunks[-1].usage_metadata.candidates_token_count == 12
    books_are_the_bill(roomy)


def test_a_system_instruction_and_a_conversation_are_served(roomy, mode):
    contents = [
        {"role": "user", "parts": [{"text": "What runs past the mill?"}]},
        {"role": "model", "parts": [{"text": "The river."}]},
        {"role": "user", "parts": [{"text": prompt(tokens=12)}]},
    ]
    answer = caller_of(roomy, mode).create(contents, system_instruction="Be brief.")
    assert answer.usage_metadata.candidates_token_count == 12
    books_are_the_bill(roomy)


def test_a_tool_call_arrives(roomy, mode):
    answer = caller_of(roomy, mode).create(prompt(8, "[[tool]]"), tools=[TOOL])
    (call,) = answer.function_calls
    assert call.name == "take_note"
    assert call.args["note"].startswith("river runs")
    books_are_the_bill(roomy)


def test_a_tool_call_is_streamed(roomy, mode):
    chunks = caller_of(roomy, mode).stream(prompt(8, "[[tool]]"), tools=[TOOL])
    (call,) = [call for chunk in chunks for call in chunk.function_calls or []]
    assert call.name == "take_note"
    assert call.args["note"].startswith("river runs")
    books_are_the_bill(roomy)


@pytest.mark.parametrize("is_streamed", [False, True], ids=["plain", "streamed"])
def test_a_spent_cap_is_not_retried(small, mode, is_streamed):
    error = refused_at_once(small, caller_of(small, mode), is_streamed)
    assert isinstance(error, errors.ClientError)
    assert error.status == "FAILED_PRECONDITION"
    assert error.message.startswith("Spend cap reached")
    check_details(error.details["error"]["holdfast"])


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"key": WRONG_KEY}, 401),
        ({"model": "gemini-nonesuch"}, 404),
        # Runs at the provider, at a price of its own.
        ({"tools": [{"google_search": {}}]}, 422),
        # Input that is not in the request.
        ({"cached_content": "cachedContents/1"}, 422),
    ],
    ids=["unknown key", "unknown model", "search", "input from elsewhere"],
)
def test_what_cannot_be_capped_is_refused(roomy, mode, change, status):
    change = dict(change)
    key = {"key": change.pop("key")} if "key" in change else {}
    received = roomy.provider.received()
    with pytest.raises(errors.ClientError) as caught:
        caller_of(roomy, mode, **key).create(**change)
    assert caught.value.code == status
    assert roomy.provider.received() == received, "it reached the provider"
