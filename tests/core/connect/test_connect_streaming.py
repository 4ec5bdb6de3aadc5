"""Answers that come line by line, from a real server on loopback."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mercat.connect import Bearer, Client, RequestFailed
from mercat.connect.streaming import lines_of
from mercat.errors import AddressRefused
from mercat.testing.connect import LocalServer, Say


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer(lambda seen: Say(body=b"one\ntwo\n")) as running:
        yield running


def client(server: LocalServer, **options: Any) -> Client:
    return Client(**({"allow": [server.host], "sleep": lambda pause_s: None} | options))


def in_turn(*says: Say) -> Any:
    left = list(says)
    return lambda seen: left.pop(0) if len(left) > 1 else left[0]


def test_lines_come_as_they_are_sent(server: LocalServer) -> None:
    server.answer = lambda seen: Say(chunks=(b"one\n", b"tw", b"o\n"), pause_s=0.15)
    with client(server) as asking:
        started = time.monotonic()
        lines = asking.lines(server.url, json={"q": 1})
        assert next(lines) == "one"
        first = time.monotonic() - started
        assert list(lines) == ["two"]
    assert time.monotonic() - started > first + 0.2
    assert json.loads(server.seen[0].body) == {"q": 1}
    assert server.seen[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ((b"a\nb\r\nc\rd",), ["a", "b", "c", "d"]),
        ((b"a\r", b"\nb\r"), ["a", "b"]),
        ((b"a\r", b"b"), ["a", "b"]),
        ((b"\n\n", b"a\n"), ["", "", "a"]),
        (("é".encode()[:1], "é".encode()[1:] + b"\n"), ["é"]),
        ((b"\xff\n", b"\xc3"), ["\ufffd", "\ufffd"]),
        ((), []),
    ],
)
def test_every_line_end_is_one_wherever_the_chunks_are_cut(chunks: tuple[bytes, ...], lines: list[str]) -> None:
    assert list(lines_of(iter(chunks), max_bytes=100, shown="x")) == lines


def test_what_is_too_large_or_silent_is_cut_off(server: LocalServer) -> None:
    with client(server, max_bytes=4) as asking, pytest.raises(RequestFailed, match="larger than 4 bytes"):
        list(asking.lines(server.url, json={}))
    server.answer = lambda seen: Say(chunks=(b"one\n", b"two\n"), pause_s=0.3)
    with client(server, timeout_s=0.45, retries=0) as asking:
        assert list(asking.lines(server.url, json={})) == ["one", "two"]  # each pause is short enough
        with pytest.raises(RequestFailed, match="No whole answer"):
            list(asking.lines(server.url, json={}, total_s=0.45))
    with client(server, timeout_s=0.1, retries=0) as asking, pytest.raises(RequestFailed, match="No whole answer"):
        list(asking.lines(server.url, json={}))


def test_a_busy_server_is_asked_again_before_the_first_line_only(server: LocalServer) -> None:
    server.answer = in_turn(Say(429), Say(body=b"at last\n"))
    with client(server) as asking:
        assert list(asking.lines(server.url, json={})) == ["at last"]
    assert len(server.seen) == 2


def test_a_bad_status_says_why_without_the_secret(server: LocalServer) -> None:
    server.answer = lambda seen: Say(400, b"no such model for sk-secret")
    with client(server, auth=Bearer("sk-secret")) as asking:
        with pytest.raises(RequestFailed, match="Status 400: no such model for") as caught:
            list(asking.lines(server.url, json={}))
        server.answer = lambda seen: Say(307, headers={"Location": "/elsewhere"})
        with pytest.raises(RequestFailed, match="Status 307"):
            list(asking.lines(server.url, json={}))
    assert "sk-secret" not in str(caught.value)
    assert [seen.path for seen in server.seen] == ["/", "/"]


def test_a_packed_answer_is_refused(server: LocalServer) -> None:
    server.answer = lambda seen: Say(body=gzip.compress(b"one\n"), headers={"Content-Encoding": "gzip"})
    with client(server) as asking, pytest.raises(RequestFailed, match="packed as 'gzip'"):
        list(asking.lines(server.url, json={}))


def test_hanging_up_early_frees_the_connection_and_the_guard_stands(server: LocalServer) -> None:
    with client(server) as asking:
        for _ in range(25):  # more than there are connections
            lines = asking.lines(server.url, json={})
            assert next(lines) == "one"
            lines.close()  # type: ignore[attr-defined]
        assert asking.get(server.url).content == b"one\ntwo\n"
    with client(server, allow=[]) as asking, pytest.raises(AddressRefused):
        list(asking.lines(server.url, json={}))
