"""For authors of sources and sinks: contract classes to inherit, and a scripted HTTP server on loopback."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from mercat.connect.base import Batch, Message, Receipt, Sink, Source
from mercat.testing.contract import Contract
from mercat.values import Row


class SourceContract(Contract):
    """What every source keeps. Inherit, and give `make_source`, `expected_rows` and `expected_rejections`."""

    @abstractmethod
    def make_source(self) -> Source:
        """A new source over the same data each time, with batches so small that there are several."""

    expected_rows: int
    expected_rejections: int = 0

    def read(self, cursor: str | None = None) -> list[Batch]:
        """Return all batches after a cursor, from a source made anew."""
        return list(self.make_source().read(cursor))

    def test_it_is_a_source(self) -> None:
        assert isinstance(self.make_source(), Source)

    def test_rows_and_rejections_are_counted(self) -> None:
        batches = self.read()
        assert len(_rows(batches)) == self.expected_rows
        rejected = [rejection for batch in batches for rejection in batch.rejected]
        assert len(rejected) == self.expected_rejections
        assert all(rejection.where and rejection.reason for rejection in rejected)

    def test_ids_differ(self) -> None:
        ids = [row.id for row in _rows(self.read())]
        assert all(ids)
        assert len(set(ids)) == len(ids)

    def test_reading_twice_gives_equal_rows(self) -> None:
        assert _rows(self.read()) == _rows(self.read())

    def test_any_cursor_leads_to_exactly_the_rest(self) -> None:
        batches = self.read()
        assert len(batches) > 1, "give the source a smaller batch size: there is nothing to resume"
        for position, batch in enumerate(batches):
            assert _rows(self.read(batch.cursor)) == _rows(batches[position + 1 :])


class SinkContract(Contract):
    """What every sink keeps. Inherit, and give `make_sink`, `make_message` and `effects`."""

    @abstractmethod
    def make_sink(self) -> Sink:
        """A new sink to the same receiver each time, as after a restart."""

    @abstractmethod
    def make_message(self, number: int) -> Message:
        """A message whose key differs for different numbers."""

    @abstractmethod
    def effects(self) -> int:
        """How many messages took effect at the receiver so far."""

    def test_it_is_a_sink(self) -> None:
        assert isinstance(self.make_sink(), Sink)

    def test_a_message_has_an_effect_and_a_receipt(self) -> None:
        before = self.effects()
        assert isinstance(self.make_sink().send(self.make_message(1)), Receipt)
        assert self.effects() == before + 1

    def test_the_same_key_twice_has_one_effect(self) -> None:
        before = self.effects()
        sink = self.make_sink()
        first = sink.send(self.make_message(2))
        again = sink.send(self.make_message(2))
        after_restart = self.make_sink().send(self.make_message(2))
        assert self.effects() == before + 1
        assert first.external_id == again.external_id == after_restart.external_id

    def test_different_keys_have_effects_of_their_own(self) -> None:
        before = self.effects()
        sink = self.make_sink()
        ids = {sink.send(self.make_message(number)).external_id for number in (3, 4, 5)}
        assert self.effects() == before + 3
        assert len(ids) == 3


def _rows(batches: list[Batch]) -> list[Row]:
    return [row for batch in batches for row in batch.rows]


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that reached the local server; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Say:
    """What the local server answers. `chunks` are written `pause_s` apart; `hang_up` closes without an answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    pause_s: float = 0.0
    chunks: tuple[bytes, ...] = ()
    hang_up: bool = False


class LocalServer:
    """An HTTP server on a loopback port that answers as `answer` says and remembers what it saw.

    `with LocalServer(lambda seen: Say(body=b"hello")) as server: client.get(server.url + "/x")`, where the client
    allows `server.host` by name.
    """

    def __init__(self, answer: Callable[[Seen], Say]) -> None:
        self.answer = answer
        self.seen: list[Seen] = []
        outer = self

        class Answering(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def _serve(self) -> None:
                outer._serve(self)

            do_GET = do_POST = do_PUT = do_HEAD = do_PATCH = do_DELETE = _serve  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.port: int = self._server.server_address[1]
        self.host = f"localhost:{self.port}"
        self.url = f"http://{self.host}"

    def __enter__(self) -> LocalServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def paths(self) -> list[str]:
        return [seen.path for seen in self.seen]

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("content-length") or 0)
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = Seen(request.command, request.path, headers, request.rfile.read(length))
        self.seen.append(seen)
        say = self.answer(seen)
        if say.hang_up:
            request.close_connection = True
            return
        request.send_response_only(say.status)
        chunks = say.chunks or (say.body,)
        for name, value in say.headers.items():
            request.send_header(name, value)
        if say.status != 304:
            request.send_header("content-length", str(sum(map(len, chunks))))
        request.end_headers()
        for chunk in _paused(chunks, say.pause_s):
            request.wfile.write(chunk)
            request.wfile.flush()


def _paused(chunks: tuple[bytes, ...], pause_s: float) -> Iterator[bytes]:
    for chunk in chunks:
        time.sleep(pause_s)
        yield chunk
