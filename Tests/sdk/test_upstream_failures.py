"""A provider that fails: the SDKs raise their own errors, and nothing is taken for free."""

from decimal import Decimal

import pytest
from callers import prompt
from conftest import LEDGER
from processes import eventually


def settled_spend(stack):
    stack.audit()
    return stack.edge.spent(LEDGER)


@pytest.fixture
def failing(start):
    stack = start(["{ name: daily, limit: $5, per: day, scope: global }"])
    stack.charges_more_than_billed = True
    return stack


@pytest.mark.parametrize("fault", ["reset-mid-stream", "error-mid-stream"])
def test_a_stream_that_breaks_raises_the_sdks_error(failing, dialect, mode, fault):
    caller = failing.caller(dialect, mode)
    seen = []
    with pytest.raises(caller.sdk.APIError) as caught:
        caller.stream(prompt(40, f"[[fault={fault}]]"), into=seen)
    assert caught.value.message
    assert caller.text(seen).startswith("the river runs"), "what came before is lost"
    assert failing.provider.received() == 1, "a request that was sent is never sent again"
    billed = Decimal(failing.provider.bill()["total_usd"])
    assert settled_spend(failing) >= billed > 0


@pytest.mark.parametrize("fault", ["reset-before-head", "reset-mid-stream", "garbage"])
def test_an_answer_that_breaks_is_charged_at_its_ceiling(failing, dialect, fault):
    caller = failing.caller(dialect, "sync", max_retries=0)
    with pytest.raises(Exception):  # noqa: B017: which one depends on where it broke
        answer = caller.create(prompt(40, f"[[fault={fault}]]"))
        # Not every SDK minds a body that is not JSON.
        assert not isinstance(answer, str) and caller.usage(answer).output
    assert failing.provider.received() == 1
    billed = Decimal(failing.provider.bill()["total_usd"])
    assert settled_spend(failing) >= billed > 0


def test_a_provider_that_broke_the_connection_is_not_asked_again_by_the_sdk(failing, dialect, mode):
    caller = failing.caller(dialect, mode)
    with pytest.raises(caller.sdk.APIStatusError) as caught:
        caller.create(prompt(40, "[[fault=reset-before-head]]"))
    assert caught.value.status_code == 502
    # It may have been billed: the second bill would be the caller's decision.
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert failing.provider.received() == 1


def test_an_answer_without_usage_is_charged_at_its_ceiling(failing, dialect, mode):
    caller = failing.caller(dialect, mode)
    chunks = caller.stream(prompt(40, "[[fault=no-usage]]"), max_tokens=64)
    assert caller.text(chunks).startswith("the river runs")
    billed = Decimal(failing.provider.bill()["total_usd"])
    assert settled_spend(failing) > billed > 0


@pytest.mark.parametrize(
    ("fault", "is_charged"),
    [("status-429", False), ("status-500", True), ("status-503", False)],
)
def test_a_providers_own_refusal_passes_through(failing, dialect, mode, fault, is_charged):
    caller = failing.caller(dialect, mode, max_retries=0)
    with pytest.raises(caller.sdk.APIStatusError) as caught:
        caller.create(prompt(5, f"[[fault={fault}]]"))
    assert caught.value.status_code == int(fault[len("status-") :])
    assert "holdfast" not in str(caught.value.body)
    assert Decimal(failing.provider.bill()["total_usd"]) == 0

    def is_settled():
        # A 500 may come after the work: not knowing is charged at the ceiling.
        return (failing.edge.spent(LEDGER) > 0) == is_charged

    eventually(is_settled, "charged as it should be")


def test_the_sdk_retries_a_busy_provider_as_it_would_without_the_edge(failing, dialect, mode):
    caller = failing.caller(dialect, mode, max_retries=1)
    with pytest.raises(caller.sdk.RateLimitError):
        caller.create(prompt(5, "[[fault=status-429]]"))
    assert failing.provider.received() == 2
