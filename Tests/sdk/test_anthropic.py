"""The `anthropic` package through the edge, where there is room under the cap."""

import anthropic
import pytest
from callers import ANTHROPIC_TOOL, prompt
from conftest import KEY, WRONG_KEY


def test_a_plain_answer_arrives_with_its_usage(roomy, mode):
    message = roomy.anthropic(mode).create(prompt(tokens=12))
    assert message.content[0].text.startswith("the river runs")
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == 12


def test_a_stream_arrives_piece_by_piece(roomy, mode):
    pieces, message = roomy.anthropic(mode).accumulate(prompt(tokens=12))
    assert len(pieces) == 12
    assert "".join(pieces) == message.content[0].text
    assert message.content[0].text.startswith("the river runs")
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == 12


def test_a_stream_has_every_event_of_the_protocol(roomy, mode):
    caller = roomy.anthropic(mode)
    events = caller.stream(prompt(tokens=12))
    assert caller.text(events).startswith("the river runs")
    kinds = [event.type for event in events if event.type != "content_block_delta"]
    assert [kind for kind in kinds if kind != "ping"] == [
        "message_start",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_a_tool_call_arrives(roomy, mode):
    message = roomy.anthropic(mode).create(prompt(8, "[[tool]]"), tools=[ANTHROPIC_TOOL])
    assert message.stop_reason == "tool_use"
    assert message.content[0].name == "take_note"
    assert message.content[0].input["note"].startswith("river runs")


def test_a_tool_call_is_streamed(roomy, mode):
    _, message = roomy.anthropic(mode).accumulate(prompt(8, "[[tool]]"), tools=[ANTHROPIC_TOOL])
    assert message.stop_reason == "tool_use"
    assert message.content[0].name == "take_note"
    assert message.content[0].input["note"].startswith("river runs")


@pytest.mark.parametrize("mark", ["cached", "cache-write"])
def test_a_cached_prompt_is_reported(roomy, mode, mark):
    message = roomy.anthropic(mode).create(prompt(5, f"[[{mark}=6]]"))
    usage = message.usage
    counts = {
        "cached": usage.cache_read_input_tokens,
        "cache-write": usage.cache_creation_input_tokens,
    }
    assert counts[mark] == 6


def test_the_older_key_header_works(roomy):
    # Versions of the SDK before 2 send the key as x-api-key.
    caller = roomy.anthropic(
        "sync", key=WRONG_KEY, default_headers={"authorization": anthropic.omit, "x-api-key": KEY}
    )
    assert caller.create(prompt(tokens=3)).usage.output_tokens == 3


def test_the_request_id_is_the_edges(roomy, mode):
    message, headers = roomy.anthropic(mode).create_raw()
    assert headers["x-request-id"]
    assert message.usage.output_tokens == 10


@pytest.mark.parametrize(
    ("change", "error", "status"),
    [
        ({"key": WRONG_KEY}, anthropic.AuthenticationError, 401),
        ({"model": "claude-nonesuch"}, anthropic.NotFoundError, 404),
        ({"max_tokens": -1}, anthropic.BadRequestError, 400),
        ({"model": ""}, anthropic.BadRequestError, 400),
    ],
    ids=["unknown key", "unknown model", "negative limit", "no model"],
)
def test_a_mistake_raises_the_sdks_own_exception(roomy, mode, change, error, status):
    change = dict(change)
    key = {"key": change.pop("key")} if "key" in change else {}
    received = roomy.provider.received()
    with pytest.raises(error) as caught:
        roomy.anthropic(mode, **key).create(**change)
    assert caught.value.status_code == status
    assert caught.value.body["type"] == "error"
    assert caught.value.request_id
    assert WRONG_KEY not in str(caught.value)
    assert roomy.provider.received() == received, "it reached the provider"
