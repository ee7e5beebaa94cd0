"""Callers that mean harm, byte by byte: nothing is billed, nothing hangs, others are served."""

import json
import socket
import time
from decimal import Decimal
from urllib.parse import urlsplit

import pytest
from callers import prompt
from conftest import KEY, OPEN_KEY
from processes import eventually

# More than a healthy edge takes for any of these, far less than one that sorts combining marks.
PATIENCE = 10
MARKS = "\u0327\u0301"


def exchange(stack, data, closes=True):
    """Everything the edge answers; with `closes`, it has to close the connection."""
    address = urlsplit(stack.edge.url)
    received = b""
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as caller:
        caller.sendall(data)
        while piece := caller.recv(65_536):
            received += piece
            if not closes and b"\r\n\r\n" in received:
                break
    return received


def request(body, headers=(), path="/v1/chat/completions", key=KEY):
    if isinstance(body, dict):
        body = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "host: edge", "connection: close"]
    lines += [f"content-length: {len(body)}", *headers]
    if key:
        lines.append(f"authorization: Bearer {key}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def chat(**fields):
    messages = [{"role": "user", "content": prompt(3)}]
    return {"model": "gpt-4o-mini", "max_tokens": 5, "messages": messages, **fields}


def status(answer):
    return int(answer.split(b" ", 2)[1])


def refused(stack, data, expected_status, reason):
    received = stack.provider.received()
    answer = exchange(stack, data)
    assert status(answer) == expected_status, answer
    assert f'"{reason}"'.encode() in answer, answer
    assert stack.provider.received() == received, "it reached the provider"


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, deflate", "x" * 5_000])
def test_an_encoded_body_is_refused(roomy, encoding):
    refused(
        roomy, request(chat(), [f"content-encoding: {encoding}"]), 422, "cost_unbounded")


def test_a_body_that_says_to_be_plain_is_served(roomy):
    assert status(exchange(roomy, request(chat(), ["content-encoding: identity"]))) == 200


def test_a_charset_cannot_change_what_the_provider_reads(roomy):
    headers = ["content-type: application/json; charset=utf-7"]
    assert status(exchange(roomy, request(chat(), headers))) == 200
    refused(roomy, request(json.dumps(chat()).encode("utf-16")), 400, "malformed_json")
    refused(roomy, request(b"\xef\xbb\xbf" + json.dumps(chat()).encode()), 400, "malformed_json")


def test_a_model_that_searches_by_itself_is_refused(roomy):
    refused(roomy, request(chat(model="gpt-5-search-api")), 422, "cost_unbounded")


def test_a_larger_context_than_the_priced_one_is_refused(roomy):
    beta = ["anthropic-version: 2023-06-01", "anthropic-beta: oauth, context-1m-2025-08-07"]
    small = request(chat(model="claude-haiku-4-5"), beta, "/v1/messages")
    refused(roomy, small, 422, "cost_unbounded")
    # Its own context is as large.
    large = request(chat(model="claude-sonnet-5-5"), beta, "/v1/messages")
    assert status(exchange(roomy, large)) == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"model": MARKS * 200_000},
        {"service_tier": MARKS * 200_000},
        {"user": MARKS * 200_000},
        {"metadata": {MARKS * 200_000: "1"}},
    ],
    ids=["model", "service_tier", "user", "metadata"],
)
def test_text_that_is_slow_to_compare_does_not_hold_up_the_edge(roomy, fields):
    body = json.dumps(chat(**fields), ensure_ascii=False).encode()
    refused(roomy, request(body), 400, "invalid_field")


def test_headers_that_are_slow_to_compare_do_not_hold_up_the_edge(roomy):
    marks = MARKS * 10_000
    for header in ["authorization: b", "expect: ", "x-api-key: "]:
        started = time.monotonic()
        answer = exchange(roomy, request(b"{}", [header + marks], key=None))
        assert status(answer) == 401, answer
        assert time.monotonic() - started < PATIENCE


def test_a_request_to_change_the_protocol_ends_the_connection(roomy):
    data = request(chat(), ["upgrade: h2c"]).replace(b"connection: close", b"connection: upgrade")
    answer = exchange(roomy, data)
    assert status(answer) == 200
    assert answer.lower().count(b"connection: close") == 1
    assert status(exchange(roomy, b"CONNECT a:1 HTTP/1.1\r\nx-api-key: x\r\n\r\n")) == 401


def test_the_path_is_taken_as_it_is(roomy):
    for path in [
        "//v1/chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/completion%73",
        "/v1/x/../chat/completions",
        "/v1/chat/completions#x",
        "http://edge/v1/chat/completions",
    ]:
        refused(roomy, request(chat(), path=path), 404, "unknown_route")
    assert status(exchange(roomy, request(chat(), path="/v1/chat/completions?max_tokens=9"))) == 200


def test_two_spellings_of_a_user_are_two_accounts_that_stay_apart(start):
    stack = start(["{ name: user, limit: $1, per: day, each: user }"])
    for user in ["\u00e9", "e\u0301"]:
        body = json.dumps(chat(user=user), ensure_ascii=False).encode()
        assert status(exchange(stack, request(body, key=OPEN_KEY))) == 200
    spent = lambda: [  # noqa: E731: polled
        account
        for account in stack.edge.accounts()
        if account["cap"] == "user" and Decimal(account["spent"]) > 0
    ]
    eventually(lambda: len(spent()) == 2, "two accounts")
    stack.restart_edge()
    assert len(spent()) == 2
