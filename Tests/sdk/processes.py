"""Starts holdfast processes, reads what they print, stops them. Everything is bounded in time."""

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
from decimal import Decimal
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
HOLDFAST = Path(
    os.environ.get("HOLDFAST_BINARY") or REPOSITORY / ".build" / "debug" / "holdfast"
).resolve()

START_SECONDS = 10
STOP_SECONDS = 10


def clean_environment():
    """Without proxies and keys of the machine the tests run on."""
    prefixes = (
        "OPENAI_", "ANTHROPIC_", "HOLDFAST_", "GROQ_", "MISTRAL_", "CO_", "COHERE_", "GOOGLE_",
        "GEMINI_", "AWS_", "BOTO_", "OTEL_",
    )  # fmt: skip
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(prefixes) and not name.lower().endswith("_proxy")
    }


class HoldfastProcess:
    """A child process whose lines are read as they come, so that no pipe ever fills up."""

    def __init__(self, *arguments):
        self.name = arguments[0]
        self._lines = []
        self._changed = threading.Condition()
        self._child = subprocess.Popen(
            [str(HOLDFAST), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(),
        )
        self._readers = [
            threading.Thread(target=self._read, args=(pipe,), daemon=True)
            for pipe in (self._child.stdout, self._child.stderr)
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, pipe):
        with pipe:
            for raw in pipe:
                with self._changed:
                    self._lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def output(self):
        with self._changed:
            return "\n".join(self._lines)

    def wait_for(self, find, what):
        """The first result of `find(line)` that is not None."""
        deadline = time.monotonic() + START_SECONDS
        seen = 0
        with self._changed:
            while True:
                for line in self._lines[seen:]:
                    found = find(line)
                    if found is not None:
                        return found
                seen = len(self._lines)
                left = deadline - time.monotonic()
                has_ended = self._child.poll() is not None and not any(
                    reader.is_alive() for reader in self._readers
                )
                if left <= 0 or has_ended:
                    state = f"ended with {self._child.poll()}" if has_ended else "still runs"
                    raise AssertionError(
                        f"{self.name} ({state}) did not print {what} within {START_SECONDS} s:\n"
                        + "\n".join(self._lines)
                    )
                self._changed.wait(min(left, 0.2))

    def logged(self, message):
        """The fields of the log line with this message, waited for."""
        return self.wait_for(lambda line: _log_line(line, message), f"the log line '{message}'")

    def stop(self):
        """SIGTERM, and SIGKILL where that does not help. Returns the exit code."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait(STOP_SECONDS)
        for reader in self._readers:
            reader.join(STOP_SECONDS)
        return self._child.returncode


def _log_line(line, message):
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    if isinstance(fields, dict) and fields.get("message") == message:
        return fields
    return None


def get(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as response:
        return response.read().decode("utf-8")


def eventually(condition, what, seconds=10):
    """Polls until the condition gives something true, and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class FakeProvider:
    """The provider of the tests, and the judge of what was spent."""

    def __init__(self):
        self.process = HoldfastProcess("fake-provider", "--port", "0", "--seed", "7")
        pattern = re.compile(r"fake provider listening on (http://127\.0\.0\.1:\d+)")

        def url(line):
            match = pattern.search(line)
            return match.group(1) if match else None

        self.url = self.process.wait_for(url, "its address")

    def bill(self):
        return json.loads(get(self.url + "/bill"), parse_float=Decimal)

    def received(self):
        """Calls that reached the provider at all."""
        return self.bill()["received"]


# One fake provider behind all of them: it tells them apart by the path.
PROVIDERS = ("openai", "anthropic", "groq", "mistral", "cohere", "gemini", "bedrock")

# Behind these the fake provider is OpenAI, and so are its models and their prices.
PRICES = [
    f"{{ provider: {provider}, model: gpt-4o-mini, input: $0.15, cache_read: $0.075, "
    "output: $0.60, context: 128000, max_output: 16384 }"
    for provider in ("groq", "mistral")
]


class Edge:
    """`holdfast serve` with a configuration of its own."""

    def __init__(self, folder, provider_url, keys, caps, has_tls=False):
        tls = _tls(folder) if has_tls else ""
        config = folder / "holdfast.yaml"
        config.write_text(
            f"""\
listen: 127.0.0.1:0
{tls}admin: {{ listen: 127.0.0.1:0 }}
store: "sqlite:{folder / 'holdfast.db'}"
providers:
{_providers(provider_url)}prices:
{_list(PRICES)}keys:
{_list(keys)}caps:
{_list(caps)}""",
            encoding="utf-8",
        )
        self.process = HoldfastProcess("serve", "--config", config)
        self.process.logged("counter is up")
        scheme = "https" if has_tls else "http"
        self.url = f"{scheme}://127.0.0.1:{int(self.process.logged('edge is up')['port'])}"
        # What callers have to trust.
        self.certificate = folder / "edge.crt" if has_tls else None
        admin = int(self.process.logged("admin listener is up")["port"])
        self.admin_url = f"http://127.0.0.1:{admin}"
        eventually(self._is_ready, "the edge is ready")

    def _is_ready(self):
        try:
            get(self.admin_url + "/readyz")
            return True
        except OSError:
            return False

    def metric(self, name, **labels):
        """The value of one series; 0 where it does not exist yet."""
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        for line in get(self.admin_url + "/metrics").splitlines():
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if match and match.group(1) == name:
                present = set((match.group(2) or "").split(",")) - {""}
                if present == wanted:
                    return Decimal(match.group(3))
        return Decimal(0)

    def refusals(self, reason):
        return self.metric("holdfast_refusals_total", reason=reason)

    def accounts(self):
        return json.loads(get(self.admin_url + "/accounts"))["accounts"]

    def account(self, cap, scope=None):
        """The account of a cap, or None when nothing was counted on it yet."""
        found = [
            account
            for account in self.accounts()
            if account["cap"] == cap and (scope is None or account["scope"] == scope)
        ]
        assert len(found) <= 1, found
        return found[0] if found else None

    def spent(self, cap, scope=None):
        account = self.account(cap, scope)
        return Decimal(account["spent"]) if account else Decimal(0)


def _tls(folder):
    """A certificate of the edge's own for callers, and the line of the configuration for it."""
    certificate, key = folder / "edge.crt", folder / "edge.key"
    if not certificate.exists():
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=edge", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", key, "-out", certificate],
            check=True, capture_output=True, timeout=START_SECONDS,
        )  # fmt: skip
    return f'tls: {{ certificate: "{certificate}", key: "{key}" }}\n'


def _providers(url):
    return "".join(
        f'  {name}: {{ api_key: "fake-provider-key", base_url: "{url}" }}\n' for name in PROVIDERS
    )


def _list(entries):
    return "".join(f"  - {entry}\n" for entry in entries)
