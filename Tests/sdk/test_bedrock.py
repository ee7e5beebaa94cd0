"""`boto3`'s bedrock-runtime through the edge: Converse, with a key of ours as Bedrock's own.

boto3 has no asyncio client, takes such a key from the environment alone, and sends it by TLS alone.
"""

import json
import shutil

import pytest
from callers import prompt
from conftest import KEY, ROOMY, SMALL, WRONG_KEY, Stack
from spent_cap import books_are_the_bill, refused_at_once

boto3 = pytest.importorskip("boto3")
from botocore.config import Config  # noqa: E402: there is nothing before the skip
from botocore.exceptions import ClientError, InvalidEndpointConfigurationError  # noqa: E402

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is missing")

# The colon goes percent-encoded into the path.
MODEL = "global.anthropic.claude-haiku-4-5-20251001-v1:0"
TOOLS = {
    "tools": [
        {
            "toolSpec": {
                "name": "take_note",
                "description": "Keeps a note.",
                "inputSchema": {
                    "json": {"type": "object", "properties": {"note": {"type": "string"}}}
                },
            }
        }
    ]
}


class BedrockCaller:
    refused = ClientError

    def __init__(self, url, certificate, retries):
        self._client = boto3.Session(region_name="us-east-1").client(
            "bedrock-runtime",
            endpoint_url=url + "/bedrock",
            verify=str(certificate),
            config=Config(read_timeout=30, retries={"mode": retries}, proxies={}),
        )

    @staticmethod
    def status(error):
        return error.response["ResponseMetadata"]["HTTPStatusCode"]

    @property
    def exceptions(self):
        return self._client.exceptions

    @staticmethod
    def arguments(content=None, limit=64, **more):
        return {
            "modelId": MODEL,
            "messages": [{"role": "user", "content": [{"text": content or prompt()}]}],
            "inferenceConfig": {"maxTokens": limit},
            **more,
        }

    def create(self, content=None, **more):
        return self._client.converse(**self.arguments(content, **more))

    def stream(self, content=None, **more):
        """All events, as pairs of a name and what is in it."""
        answer = self._client.converse_stream(**self.arguments(content, **more))
        return [pair for event in answer["stream"] for pair in event.items()]

    def close(self):
        self._client.close()


@pytest.fixture(scope="module")
def roomy(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("roomy"), [ROOMY], has_tls=True)
    yield stack
    stack.close(audits=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("small"), [SMALL], has_tls=True)
    yield stack
    stack.close(audits=True)


@pytest.fixture
def open_caller(monkeypatch, tmp_path):
    """`open_caller(stack)`, with an environment in which there is no other credential."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    callers = []

    def open_caller(stack, key=KEY, retries="standard", url=None):
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", key)
        callers.append(BedrockCaller(url or stack.edge.url, stack.edge.certificate, retries))
        return callers[-1]

    yield open_caller
    for caller in callers:
        caller.close()


def of_name(events, name):
    return [value for event, value in events if event == name]


def test_a_plain_answer_arrives_with_its_usage(roomy, open_caller):
    answer = open_caller(roomy).create(prompt(tokens=12))
    assert answer["output"]["message"]["content"][0]["text"].startswith("the river runs")
    assert answer["stopReason"] == "end_turn"
    usage = answer["usage"]
    assert usage["outputTokens"] == 12
    assert usage["totalTokens"] == usage["inputTokens"] + 12
    books_are_the_bill(roomy)


def test_a_stream_arrives_piece_by_piece(roomy, open_caller):
    events = open_caller(roomy).stream(prompt(tokens=12))
    pieces = [event["delta"]["text"] for event in of_name(events, "contentBlockDelta")]
    assert len(pieces) == 12
    assert "".join(pieces).startswith("the river runs")
    assert events[0][0] == "messageStart"
    (stop,) = of_name(events, "messageStop")
    assert stop["stopReason"] == "end_turn"
    assert events[-1][0] == "metadata"
    assert events[-1][1]["usage"]["outputTokens"] == 12
    books_are_the_bill(roomy)


def test_a_system_prompt_and_a_conversation_are_served(roomy, open_caller):
    messages = [
        {"role": "user", "content": [{"text": "What runs past the mill?"}]},
        {"role": "assistant", "content": [{"text": "The river."}]},
        {"role": "user", "content": [{"text": prompt(tokens=12)}]},
    ]
    answer = open_caller(roomy).create(messages=messages, system=[{"text": "Be brief."}])
    assert answer["usage"]["outputTokens"] == 12
    books_are_the_bill(roomy)


def test_a_tool_call_arrives(roomy, open_caller):
    answer = open_caller(roomy).create(prompt(8, "[[tool]]"), toolConfig=TOOLS)
    assert answer["stopReason"] == "tool_use"
    (call,) = [
        block["toolUse"]
        for block in answer["output"]["message"]["content"]
        if "toolUse" in block
    ]
    assert call["name"] == "take_note"
    assert call["input"]["note"].startswith("river runs")
    books_are_the_bill(roomy)


def test_a_tool_call_is_streamed(roomy, open_caller):
    events = open_caller(roomy).stream(prompt(8, "[[tool]]"), toolConfig=TOOLS)
    (begin,) = [
        event["start"]["toolUse"]
        for event in of_name(events, "contentBlockStart")
        if "toolUse" in event["start"]
    ]
    assert begin["name"] == "take_note"
    deltas = [event["delta"] for event in of_name(events, "contentBlockDelta")]
    pieces = [delta["toolUse"]["input"] for delta in deltas if "toolUse" in delta]
    assert json.loads("".join(pieces))["note"].startswith("river runs")
    assert of_name(events, "messageStop")[0]["stopReason"] == "tool_use"
    books_are_the_bill(roomy)


# "legacy" is what boto3 does when nobody chooses.
@pytest.mark.parametrize("retries", ["legacy", "standard", "adaptive"])
@pytest.mark.parametrize("is_streamed", [False, True], ids=["plain", "streamed"])
def test_a_spent_cap_is_not_retried(small, open_caller, retries, is_streamed):
    caller = open_caller(small, retries=retries)
    error = refused_at_once(small, caller, is_streamed)
    # Its own class for it, which it finds by a header.
    assert isinstance(error, caller.exceptions.ServiceQuotaExceededException)
    assert error.response["Error"]["Code"] == "ServiceQuotaExceededException"
    assert error.response["Error"]["Message"].startswith("Spend cap reached")
    assert error.response["ResponseMetadata"]["RetryAttempts"] == 0
    # Members that are not in its model do not get through, headers do.
    headers = error.response["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-holdfast-reason"] == "spend_cap_reached"
    assert headers["x-holdfast-cap"] == "small"
    assert headers["x-holdfast-cap-scope"] == "tenant=acme"


@pytest.mark.parametrize(
    ("change", "name", "status"),
    [
        ({"key": WRONG_KEY}, "UnrecognizedClientException", 401),
        ({"modelId": "anthropic.claude-nonesuch"}, "ResourceNotFoundException", 404),
    ],
    ids=["unknown key", "unknown model"],
)
def test_a_mistake_raises_the_sdks_own_exception(roomy, open_caller, change, name, status):
    change = dict(change)
    key = {"key": change.pop("key")} if "key" in change else {}
    received = roomy.provider.received()
    caller = open_caller(roomy, **key)
    with pytest.raises(ClientError) as caught:
        caller.create(**change)
    assert caller.status(caught.value) == status
    assert caught.value.response["Error"]["Code"] == name
    assert roomy.provider.received() == received, "it reached the provider"


def test_the_sdk_sends_no_key_without_tls(roomy, open_caller):
    caller = open_caller(roomy, url=roomy.edge.url.replace("https:", "http:"))
    with pytest.raises(InvalidEndpointConfigurationError):
        caller.create()
