"""The `openai` package through the edge, where there is room under the cap."""

import json

import openai
import pytest
from callers import OPENAI_TOOL, prompt
from conftest import WRONG_KEY


def test_a_plain_answer_arrives_with_its_usage(roomy, mode):
    answer = roomy.openai(mode).create(prompt(tokens=12))
    assert answer.choices[0].message.content.startswith("the river runs")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 12


def test_a_stream_arrives_piece_by_piece_without_the_usage_nobody_asked_for(roomy, mode):
    caller = roomy.openai(mode)
    chunks = caller.stream(prompt(tokens=12))
    assert caller.text(chunks).startswith("the river runs")
    assert len([chunk for chunk in chunks if chunk.choices[0].delta.content]) == 12
    assert chunks[-1].choices[0].finish_reason == "stop"
    for chunk in chunks:
        # The edge asks for usage in every stream; who did not ask sees nothing of it.
        assert len(chunk.choices) == 1
        assert "usage" not in chunk.model_dump(exclude_unset=True), chunk


def test_a_stream_has_usage_when_it_is_asked_for(roomy, mode):
    caller = roomy.openai(mode)
    chunks = caller.stream(prompt(tokens=12), stream_options={"include_usage": True})
    assert caller.text(chunks).startswith("the river runs")
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].choices == []
    assert caller.usage(chunks[-1]).output == 12


def test_a_caller_can_decline_usage(roomy, mode):
    chunks = roomy.openai(mode).stream(stream_options={"include_usage": False})
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)


def test_a_tool_call_arrives(roomy, mode):
    answer = roomy.openai(mode).create(prompt(8, "[[tool]]"), tools=[OPENAI_TOOL])
    assert answer.choices[0].finish_reason == "tool_calls"
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "take_note"
    assert json.loads(call.function.arguments)["note"].startswith("river runs")


def test_a_tool_call_is_streamed(roomy, mode):
    chunks = roomy.openai(mode).stream(prompt(8, "[[tool]]"), tools=[OPENAI_TOOL])
    calls = [chunk.choices[0].delta.tool_calls for chunk in chunks]
    calls = [call[0] for call in calls if call]
    assert calls[0].function.name == "take_note"
    arguments = "".join(call.function.arguments for call in calls)
    assert json.loads(arguments)["note"].startswith("river runs")
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_several_choices_arrive(roomy, mode):
    answer = roomy.openai(mode).create(prompt(tokens=5), n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.usage.completion_tokens == 15


def test_a_cached_prompt_is_reported(roomy, mode):
    answer = roomy.openai(mode).create(prompt(5, "[[cached=6]]"))
    assert answer.usage.prompt_tokens_details.cached_tokens == 6


def test_newer_models_work_with_their_own_parameter(roomy, mode):
    arguments = {"model": "gpt-5-mini", "max_tokens": openai.omit, "max_completion_tokens": 64}
    answer = roomy.openai(mode).create(prompt(tokens=9), **arguments)
    assert answer.usage.completion_tokens == 9
    chunks = roomy.openai(mode).stream(prompt(tokens=9), **arguments)
    assert roomy.openai(mode).text(chunks).startswith("the river runs")


def test_the_request_id_is_the_edges(roomy, mode):
    answer, headers = roomy.openai(mode).create_raw()
    assert headers["x-request-id"]
    assert headers["x-request-id"] != headers["x-upstream-request-id"]
    assert answer._request_id == headers["x-request-id"]


@pytest.mark.parametrize(
    ("change", "error", "status", "code"),
    [
        ({"key": WRONG_KEY}, openai.AuthenticationError, 401, "invalid_api_key"),
        ({"model": "gpt-nonesuch"}, openai.NotFoundError, 404, "model_not_priced"),
        ({"max_tokens": -1}, openai.BadRequestError, 400, None),
        ({"max_tokens": 10**18}, openai.BadRequestError, 400, None),
        ({"model": ""}, openai.BadRequestError, 400, None),
    ],
    ids=["unknown key", "unknown model", "negative limit", "absurd limit", "no model"],
)
def test_a_mistake_raises_the_sdks_own_exception(roomy, mode, change, error, status, code):
    change = dict(change)
    key = {"key": change.pop("key")} if "key" in change else {}
    received = roomy.provider.received()
    with pytest.raises(error) as caught:
        roomy.openai(mode, **key).create(**change)
    assert caught.value.status_code == status
    assert caught.value.message
    if code:
        assert caught.value.code == code
    assert WRONG_KEY not in str(caught.value)
    assert roomy.provider.received() == received, "it reached the provider"


def test_an_unknown_route_names_the_ones_there_are(roomy):
    with roomy.openai("sync").client() as client, pytest.raises(openai.NotFoundError) as caught:
        client.images.generate(model="gpt-image-1", prompt="x")
    assert "/v1/chat/completions" in caught.value.message
