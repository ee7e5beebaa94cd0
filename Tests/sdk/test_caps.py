"""What the SDKs see when a cap is short or spent, and who is charged."""

import threading
import time
from decimal import Decimal

import pytest
from callers import prompt
from conftest import KEY, LEDGER, OPEN_KEY
from processes import eventually

SMALL = "{ name: small, limit: $0.001, per: day, scope: { tenant: acme } }"

# More than any cap here pays for: the edge clamps the answer to what is left.
LONG = prompt(tokens=5000)

REFUSAL_FIELDS = {
    "cap", "scope", "period", "limit", "spent", "held", "ceiling", "resets_at", "remedies",
}  # fmt: skip


def spend_all(stack, caller):
    """Until the cap is spent. The last error, and how many requests were paid before it."""
    for count in range(100):
        try:
            caller.create(LONG, max_tokens=16_000)
        except caller.sdk.APIStatusError as error:
            if error.status_code == 402:
                return error, count
            raise
    raise AssertionError(f"the cap still pays after 100 requests: {stack.edge.accounts()}")


def holdfast_of(error):
    """The `holdfast` object. The OpenAI SDK unpacks `error`, Anthropic's does not."""
    return error.body.get("error", error.body)["holdfast"]


def test_a_spent_cap_is_a_402_that_says_what_to_do(start, dialect, mode):
    stack = start([SMALL])
    error, count = spend_all(stack, stack.caller(dialect, mode))
    assert count >= 1, "nothing was paid before the refusal"
    assert "$0.001" in error.message
    if dialect == "openai":
        assert error.code == "spend_cap_reached"
        assert error.type == "insufficient_quota"
    else:
        assert error.body["type"] == "error"
        assert error.body["error"]["type"] == "billing_error"
    details = holdfast_of(error)
    assert REFUSAL_FIELDS <= set(details), details
    assert details["cap"] == "small"
    assert details["scope"] == "tenant=acme"
    assert details["period"] == "day"
    assert Decimal(details["limit"]) == Decimal("0.001")
    assert Decimal("0.0005") < Decimal(details["spent"]) <= Decimal("0.001")
    assert Decimal(details["ceiling"]) > Decimal(details["limit"]) - Decimal(details["spent"])
    assert details["resets_at"].endswith("Z")
    assert "raise_cap" in details["remedies"]
    headers = error.response.headers
    assert headers["x-should-retry"] == "false"
    assert "retry-after" not in headers, "SDKs would sleep for it"
    assert headers["x-holdfast-cap-scope"] == "tenant=acme"
    assert headers["x-holdfast-cap-period"] == "day"
    assert headers["x-holdfast-resets-at"] == details["resets_at"]
    assert headers["x-request-id"]


@pytest.mark.parametrize("streams", [False, True], ids=["plain", "streamed"])
def test_a_spent_cap_is_not_retried_and_answers_at_once(start, dialect, mode, streams):
    stack = start([SMALL])
    caller = stack.caller(dialect, mode)
    spend_all(stack, caller)
    refusals = stack.edge.refusals("spend_cap_reached")
    received = stack.provider.received()
    began = time.monotonic()
    with pytest.raises(caller.sdk.APIStatusError) as caught:
        (caller.stream if streams else caller.create)(LONG, max_tokens=16_000)
    assert caught.value.status_code == 402
    assert time.monotonic() - began < 2
    # The SDKs would have tried twice more.
    assert stack.edge.refusals("spend_cap_reached") == refusals + 1
    assert stack.provider.received() == received, "it reached the provider"


def test_a_request_that_no_cap_could_pay_is_told_apart(start, dialect, mode):
    stack = start(["{ name: tiny, limit: $0.00001, per: day, scope: global }"])
    caller = stack.caller(dialect, mode)
    with pytest.raises(caller.sdk.APIStatusError) as caught:
        caller.create(prompt(marks="x" * 20_000))
    assert caught.value.status_code == 402
    assert holdfast_of(caught.value)["reason"] == "request_exceeds_cap"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert stack.provider.received() == 0


def test_an_answer_is_clamped_to_what_the_cap_pays(start, dialect, mode):
    stack = start([SMALL])
    caller = stack.caller(dialect, mode)
    answer, headers = caller.create_raw(LONG, max_tokens=16_000)
    limit, cap = headers["x-holdfast-clamped"].split("; ")
    assert cap == "cap=small"
    assert caller.usage(answer).output == int(limit[len("max_output_tokens=") :])
    finish = answer.choices[0].finish_reason if dialect == "openai" else answer.stop_reason
    assert finish in ("length", "max_tokens")


def test_an_answer_within_the_cap_is_not_clamped(start, dialect, mode):
    stack = start([SMALL])
    _, headers = stack.caller(dialect, mode).create_raw(prompt(tokens=10))
    assert "x-holdfast-clamped" not in headers


class HeldStream:
    """A stream that holds the whole of a small cap until it is closed or ends."""

    def __init__(self, stack, dialect, tokens, delay_milliseconds):
        caller = stack.caller(dialect, "sync")
        self._text = caller.text
        content = prompt(tokens).replace("[[delay=0]]", f"[[delay={delay_milliseconds}]]")
        arguments = caller.arguments(content, max_tokens=16_000, stream=True)
        self._context = caller.client()
        client = self._context.__enter__()
        resource = client.chat.completions if dialect == "openai" else client.messages
        self._stream = resource.create(**arguments)
        self._events = iter(self._stream)
        self._first = next(self._events)

    def read_to_the_end(self):
        """The whole text, as a list of words."""
        return self._text([self._first, *self._events]).split()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stream.close()
        self._context.__exit__(None, None, None)


def test_a_busy_cap_is_a_429_that_may_be_retried_soon(start, dialect):
    stack = start([SMALL])
    caller = stack.caller(dialect, "sync", max_retries=0)
    with HeldStream(stack, dialect, tokens=100, delay_milliseconds=40) as stream:
        with pytest.raises(caller.sdk.RateLimitError) as caught:
            caller.create(prompt(tokens=10))
        assert len(stream.read_to_the_end()) == 100, "the stream was disturbed"
    headers = caught.value.response.headers
    assert 1 <= int(headers["retry-after"]) <= 5
    assert headers["x-should-retry"] == "true"
    assert holdfast_of(caught.value)["reason"] == "budget_in_flight"
    assert stack.edge.refusals("budget_in_flight") == 1
    assert stack.edge.refusals("spend_cap_reached") == 0


def test_the_sdk_waits_for_a_busy_cap_and_then_succeeds(start, dialect, mode):
    stack = start([SMALL])
    with HeldStream(stack, dialect, tokens=75, delay_milliseconds=40) as stream:
        reader = threading.Thread(target=stream.read_to_the_end)
        reader.start()
        caller = stack.caller(dialect, mode, max_retries=10)
        answer = caller.create(prompt(tokens=10))
        reader.join(30)
    assert caller.usage(answer).output == 10


def test_a_closed_stream_gives_back_what_it_held(start, dialect):
    stack = start([SMALL])
    # What the provider made before it noticed is not known: charged is at least that.
    stack.charges_more_than_billed = True
    with HeldStream(stack, dialect, tokens=100, delay_milliseconds=20):
        pass
    stack.audit()
    assert stack.edge.metric("holdfast_requests_in_flight") == 0


def test_an_edge_that_is_told_to_stop_finishes_its_streams_and_settles(start, dialect):
    stack = start([SMALL])
    with HeldStream(stack, dialect, tokens=60, delay_milliseconds=20) as stream:
        restart = threading.Thread(target=stack.restart_edge)
        restart.start()
        assert len(stream.read_to_the_end()) == 60
        restart.join(30)
    assert not restart.is_alive()
    # The new process finds on disk what the old one settled: the audit at the end is exact.
    assert stack.edge.spent("small") == Decimal(stack.provider.bill()["total_usd"]) > 0


def test_a_token_cap_counts_tokens(start, dialect, mode):
    stack = start(["{ name: words, limit: 1000 tokens, per: hour, scope: { key: support } }"])
    caller = stack.caller(dialect, mode)
    answer = caller.create(prompt(tokens=30))
    usage = caller.usage(answer)

    def counted():
        return stack.edge.spent("words") == usage.input + usage.output

    eventually(counted, f"{usage} is counted")
    error, _ = spend_all(stack, caller)
    details = holdfast_of(error)
    assert details["cap"] == "words"
    assert details["limit"] == "1000"
    assert int(details["spent"]) <= 1000


def test_an_observed_cap_is_counted_and_never_refuses(start, dialect, mode):
    stack = start(
        ["{ name: watched, limit: $0.00001, per: day, scope: global, mode: observe }"]
    )
    _, headers = stack.caller(dialect, mode).create_raw()
    assert headers["x-holdfast-would-refuse"] == "watched"
    assert stack.edge.metric("holdfast_would_refuse_total", cap="watched") == 1


def user_in(dialect, user):
    """How each SDK names the end user of a request."""
    return {"user": user} if dialect == "openai" else {"metadata": {"user_id": user}}


EACH_USER = "{ name: each-user, limit: $0.001, per: day, each: user }"


@pytest.mark.parametrize("place", ["body", "header"])
def test_a_user_is_charged_where_the_key_allows_it(start, dialect, mode, place):
    stack = start([EACH_USER])
    caller = stack.caller(dialect, mode, key=OPEN_KEY)
    named = {
        "body": user_in(dialect, "u1"),
        "header": {"extra_headers": {"X-Holdfast-User": "u1"}},
    }[place]
    caller.create(prompt(tokens=10), **named)
    stack.audit()
    assert stack.edge.spent("each-user", "user=u1") == stack.edge.spent(LEDGER) > 0


def test_a_user_is_not_believed_where_the_key_does_not_allow_it(start, dialect, mode):
    stack = start([EACH_USER])
    caller = stack.caller(dialect, mode, key=KEY)
    named = {**user_in(dialect, "u1"), "extra_headers": {"X-Holdfast-User": "u1"}}
    caller.create(prompt(tokens=10), **named)
    stack.audit()
    assert stack.edge.account("each-user") is None


def test_one_user_who_is_spent_does_not_stop_another(start, dialect, mode):
    stack = start([EACH_USER])
    caller = stack.caller(dialect, mode, key=OPEN_KEY)
    with pytest.raises(caller.sdk.APIStatusError) as caught:
        for _ in range(100):
            caller.create(LONG, max_tokens=16_000, **user_in(dialect, "u1"))
    assert caught.value.status_code == 402
    assert holdfast_of(caught.value)["scope"] == "user=u1"
    answer = caller.create(prompt(tokens=10), **user_in(dialect, "u2"))
    assert caller.usage(answer).output == 10
    with pytest.raises(caller.sdk.APIStatusError):
        caller.create(prompt(tokens=10), max_tokens=16_000, **user_in(dialect, "u1"))


def test_the_strictest_cap_is_the_one_that_is_named(start, dialect, mode):
    stack = start(
        [
            "{ name: wide, limit: $0.5, per: month, scope: global }",
            "{ name: narrow, limit: $0.001, per: day, scope: { key: support } }",
            "{ name: middle, limit: $0.1, per: total, scope: { tenant: acme } }",
        ]
    )
    error, _ = spend_all(stack, stack.caller(dialect, mode))
    assert holdfast_of(error)["cap"] == "narrow"
    assert holdfast_of(error)["scope"] == "key=support"


def test_many_callers_at_once_stay_under_the_cap(start, dialect):
    stack = start(["{ name: shared, limit: $0.02, per: day, scope: { tenant: acme } }"])
    outcomes = []

    def work():
        caller = stack.caller(dialect, "sync")
        for index in range(200):
            try:
                call = caller.stream if index % 2 else caller.create
                call(prompt(tokens=300), max_tokens=400)
                outcomes.append(200)
            except caller.sdk.APIStatusError as error:
                outcomes.append(error.status_code)
                if error.status_code == 402:
                    return

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert outcomes.count(402) == 8, outcomes
    assert set(outcomes) <= {200, 402, 429}
    billed = Decimal(stack.provider.bill()["total_usd"])
    assert Decimal("0.0194") <= billed <= Decimal("0.02"), "97 % of a cap can be used"
