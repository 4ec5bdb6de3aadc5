"""The way out: httpx requests over connections that the guard has approved and a deadline bounds.

No proxy, no cookies and no environment variable takes part. `httpx.Client` is left out on purpose: it writes every
URL, with the secrets in its query, to the log.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpcore
import httpx

from mercat.connect.guard import Guard
from mercat.errors import ConfigError

_WRITE_BYTES = 65_536


@lru_cache(maxsize=8)
def trust(ca_file: Path | str | None) -> ssl.SSLContext:
    """Which certificates are believed: those of certifi, or one's own. Kept, because reading them takes a while."""
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"ca_file '{ca_file}' was read", f"It holds no certificates ({error})", "a PEM file"
        ) from None


class Deadline:
    """The moment at which the present request of this thread must be over."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._local = threading.local()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        self._local.until = self._monotonic() + seconds
        try:
            yield
        finally:
            self._local.until = None

    def left_s(self, timeout_s: float | None) -> float | None:
        """The time left, at most `timeout_s`; negative or 0 when it is over."""
        until = getattr(self._local, "until", None)
        if until is None:
            return timeout_s
        left: float = until - self._monotonic()
        return left if timeout_s is None else min(left, timeout_s)


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every read and write ends by the deadline, however slowly the bytes drip."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner, self._deadline = inner, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITE_BYTES):
            piece = buffer[start : start + _WRITE_BYTES]
            self._inner.write(piece, self._left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._left(timeout, httpcore.ConnectTimeout)
        return _TimedStream(self._inner.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def _left(self, timeout_s: float | None, error: type[Exception]) -> float | None:
        left = self._deadline.left_s(timeout_s)
        if left is not None and left <= 0:
            raise error("the total time is over")
        return left


class _GuardedBackend(httpcore.NetworkBackend):
    """Connects to the addresses that the guard gives out for a host, and to nothing else."""

    def __init__(self, guard: Guard, deadline: Deadline) -> None:
        self._guard, self._deadline = guard, deadline
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("no address")
        for address in self._guard.addresses(host, port):
            left = self._deadline.left_s(timeout)
            if left is not None and left <= 0:
                raise httpcore.ConnectTimeout("the total time is over")
            try:
                stream = self._inner.connect_tcp(address, port, left, local_address, socket_options)
                return _TimedStream(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        raise httpcore.ConnectError("sockets in the file system are not used")


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        if hasattr(self._stream, "close"):
            self._stream.close()


class GuardedTransport(httpx.BaseTransport):
    """An httpx transport over guarded connections. Its errors are those of httpcore."""

    def __init__(self, guard: Guard, deadline: Deadline, *, ssl_context: ssl.SSLContext) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context,
            max_connections=20,
            max_keepalive_connections=10,
            keepalive_expiry=5.0,
            network_backend=_GuardedBackend(guard, deadline),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method,
                target,
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer.stream), request=request)

    def close(self) -> None:
        self._pool.close()
