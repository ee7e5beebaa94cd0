"""What every SDK has to make of a spent cap, whichever error class it has for it."""

import time
from decimal import Decimal

import pytest
from callers import prompt
from conftest import LEDGER

# More than the cap pays for: the edge clamps the answer to what is left.
LONG = prompt(tokens=5000)
LONG_LIMIT = 8000


def refused_at_once(stack, caller, is_streamed):
    """Spends what is left of the cap `small` and asks once more. The second error, which is a 402.

    A caller has `create` and `stream`, which take the prompt and `limit`; `refused`, the class that
    it raises, and `status(error)`.
    """
    _spend_all(stack, caller)
    refusals = stack.edge.refusals("spend_cap_reached")
    received = stack.provider.received()
    assert received >= 1, "nothing was paid before the refusal"
    began = time.monotonic()
    with pytest.raises(caller.refused) as caught:
        (caller.stream if is_streamed else caller.create)(LONG, limit=LONG_LIMIT)
    assert time.monotonic() - began < 2, "the SDK waited for something"
    assert caller.status(caught.value) == 402
    # One for the request, none for a retry.
    assert stack.edge.refusals("spend_cap_reached") == refusals + 1
    assert stack.provider.received() == received, "it reached the provider"
    books_are_the_bill(stack)
    return caught.value


def _spend_all(stack, caller):
    refusals = stack.edge.refusals("spend_cap_reached")
    for _ in range(100):
        try:
            caller.create(LONG, limit=LONG_LIMIT)
        except caller.refused as error:
            assert caller.status(error) == 402, error
            assert stack.edge.refusals("spend_cap_reached") == refusals + 1, "it was tried again"
            return
    raise AssertionError(f"the cap still pays after 100 requests: {stack.edge.accounts()}")


def check_details(details):
    """The `holdfast` object of a refusal's body."""
    assert details["reason"] == "spend_cap_reached"
    assert details["cap"] == "small"
    assert details["scope"] == "tenant=acme"
    assert Decimal(details["limit"]) == Decimal("0.004")
    assert "raise_cap" in details["remedies"]


def books_are_the_bill(stack):
    """To the nano-dollar that each request may be rounded up by, and it is not nothing."""
    stack.audit()
    assert stack.edge.spent(LEDGER) >= Decimal(stack.provider.bill()["total_usd"]) > 0
