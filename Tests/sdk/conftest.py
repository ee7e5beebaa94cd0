"""Fixtures: a fake provider with an edge in front of it, and the two SDKs as callers."""

import os
from decimal import Decimal

import pytest
from callers import AnthropicCaller, OpenAICaller
from processes import HOLDFAST, Edge, FakeProvider, clean_environment, eventually

# Whoever holds these can spend nothing: they are keys of edges that live for one test.
KEY = "hf-kq83jd02lsmx71"
OPEN_KEY = "hf-p0wq7xn45vbt26"
WRONG_KEY = "hf-zz19fh37ckrw80"

# On every edge, too large to refuse: what the edge thinks was spent, to compare with the bill.
LEDGER = "ledger"

ROOMY = "{ name: daily, limit: $50, per: day, scope: global }"

# Pays for a few short answers of the dearest model here, and for no long one of the cheapest.
SMALL = "{ name: small, limit: $0.004, per: day, scope: { tenant: acme } }"


class Stack:
    """A fake provider and an edge in front of it, audited when the test is over."""

    def __init__(self, folder, caps, has_tls=False):
        self._folder = folder
        self._has_tls = has_tls
        self._caps = [f"{{ name: {LEDGER}, limit: $1000, per: month, scope: global }}", *caps]
        self.provider = FakeProvider()
        # Set by tests whose requests end without usage: those are charged at the ceiling.
        self.charges_more_than_billed = False
        try:
            self.edge = self._start_edge()
        except BaseException:
            self.provider.process.stop()
            raise

    def _start_edge(self):
        keys = [
            f'{{ name: support, secret: "{KEY}", tenant: acme }}',
            f'{{ name: open, secret: "{OPEN_KEY}", tenant: acme, allow: [user, session] }}',
        ]
        return Edge(self._folder, self.provider.url, keys, self._caps, self._has_tls)

    def restart_edge(self):
        """With the same store, after an orderly stop."""
        assert self.edge.process.stop() == 0, self.edge.process.output
        self.edge = self._start_edge()

    def caller(self, dialect, mode, key=KEY, **options):
        return {"openai": self.openai, "anthropic": self.anthropic}[dialect](mode, key, **options)

    def openai(self, mode, key=KEY, **options):
        return OpenAICaller(self.edge.url, key, mode, **options)

    def anthropic(self, mode, key=KEY, **options):
        return AnthropicCaller(self.edge.url, key, mode, **options)

    def audit(self):
        """The provider's bill is the judge: under every cap, and what the edge has on its books."""
        eventually(lambda: self.provider.bill()["in_flight"] == 0, "the provider is idle")
        bill = self.provider.bill()
        billed = Decimal(bill["total_usd"])

        def settled():
            account = self.edge.account(LEDGER)
            if account is None or Decimal(account["reserved"]) == 0:
                spent = Decimal(account["spent"]) if account else Decimal(0)
                return (spent,) if spent >= billed else None
            return None

        (spent,) = eventually(settled, f"the edge settles at least the bill of ${billed}")
        if not self.charges_more_than_billed:
            # One rounding up to a nano-dollar per request.
            rounding = bill["requests"] * Decimal("0.000000001")
            assert billed <= spent <= billed + rounding, self.edge.accounts()
        for account in self.edge.accounts():
            if account["mode"] != "enforce":
                continue
            assert Decimal(account["spent"]) <= Decimal(account["limit"]), account
            if account["scope"] == "global" and account["unit"] == "usd":
                assert billed <= Decimal(account["limit"]), (bill, account)
        assert self.edge.metric("holdfast_overruns_total") == 0

    def close(self, audits):
        """Both processes end by themselves on SIGTERM, also when the audit fails."""
        try:
            if audits:
                self.audit()
        finally:
            codes = {"serve": self.edge.process.stop(), "fake": self.provider.process.stop()}
        assert codes == {"serve": 0, "fake": 0}, self.edge.process.output
        self._check_secrecy()

    def _check_secrecy(self):
        output = self.edge.process.output
        for secret in (KEY, OPEN_KEY, WRONG_KEY, "[["):
            assert secret not in output, "a key or a prompt is in the log"


@pytest.fixture(scope="session", autouse=True)
def _environment():
    """The SDKs read keys, addresses and proxies from the environment: none of this machine's."""
    if not HOLDFAST.exists():
        pytest.exit(f"{HOLDFAST} is missing: swift build --product holdfast", returncode=1)
    kept = clean_environment()
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - set(kept):
            patch.delenv(name)
        yield


@pytest.fixture(scope="module")
def roomy(tmp_path_factory):
    """One stack for the tests of a module that stay far below its cap."""
    stack = Stack(tmp_path_factory.mktemp("roomy"), [ROOMY])
    yield stack
    stack.close(audits=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """One stack for the tests of a module that are about its cap being spent."""
    stack = Stack(tmp_path_factory.mktemp("small"), [SMALL])
    yield stack
    stack.close(audits=True)


@pytest.fixture
def start(tmp_path, request):
    """`start(caps)`: a stack of the test's own."""
    stacks = []

    def start(caps):
        folder = tmp_path / str(len(stacks))
        folder.mkdir()
        stacks.append(Stack(folder, caps))
        return stacks[-1]

    yield start
    # A test that failed leaves requests behind that an audit could only misjudge.
    passed = getattr(request.node, "passed", False)
    for stack in stacks:
        stack.close(audits=passed)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        item.passed = report.passed
    return report


@pytest.fixture(params=["sync", "async"])
def mode(request):
    return request.param


@pytest.fixture(params=["openai", "anthropic"])
def dialect(request):
    return request.param
