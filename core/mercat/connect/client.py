"""The one HTTP client of mercat: guarded, bounded in time and size, patient with busy servers, silent about secrets."""

from __future__ import annotations

import json as _json
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpcore
import httpx

from mercat.connect.auth import Auth
from mercat.connect.body import read_body
from mercat.connect.guard import Guard, Resolver, shown_url, system_resolver
from mercat.connect.paging import Follow, walk
from mercat.connect.response import RequestFailed, Response
from mercat.connect.retry import PASSING, Pace, backoff_s, may_repeat, retry_after_s
from mercat.connect.streaming import lines_of, timed_chunks
from mercat.connect.transport import Deadline, GuardedTransport, trust

_SUCCESS = range(200, 300)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3
# what may follow a redirect to another origin; everything else may be a credential
_HARMLESS = frozenset({"user-agent", "accept", "accept-encoding", "if-none-match", "if-modified-since"})
_NOT_SENT = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout)
_BROKEN = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError)
USER_AGENT = "mercat/0.1"
_Answer = TypeVar("_Answer")


class Client:
    """Fetches and sends over HTTP.

    - `allow`: hosts (or host:port) inside private networks that may be reached, by name; see `Guard`.
    - `timeout_s`: the whole of one try, from connecting to the last byte, redirects included.
    - `max_bytes`: the largest body, counted after unpacking.
    - `retries`: further tries after a failed connection or a 429, 502, 503 or 504. `Retry-After` is obeyed, up to
      `max_wait_s`; beyond that the error carries `retry_after_s` and the caller decides.
    - `per_host_interval_s`: the least time between two requests to one host.
    - `auth` and `headers` go with every request, but never to another origin. `secrets` are further strings that
      no message may show, such as the path of a webhook.
    - `ca_file`: a PEM file of the authority that signed an inner server's certificate.

    Nothing is logged here; the DEBUG log of `httpcore`, where somebody turns it on, tells hosts and answers' headers.

    Errors of every request: AddressRefused, RequestFailed. One client may be shared between threads.
    """

    def __init__(
        self,
        *,
        allow: Iterable[str] = (),
        timeout_s: float = 15.0,
        max_bytes: int = 5_000_000,
        retries: int = 3,
        per_host_interval_s: float = 0.0,
        auth: Auth | None = None,
        headers: Mapping[str, str] | None = None,
        secrets: Collection[str] = (),
        user_agent: str = USER_AGENT,
        backoff_base_s: float = 0.5,
        max_wait_s: float = 60.0,
        ca_file: Path | str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        resolver: Resolver = system_resolver,
        seed: int = 0,
    ) -> None:
        self.timeout_s, self.max_bytes, self.retries = timeout_s, max_bytes, retries
        self._guard = Guard(allow=allow, resolver=resolver)
        self._deadline = Deadline(monotonic)
        self._transport = GuardedTransport(self._guard, self._deadline, ssl_context=trust(ca_file))
        self._common = {"user-agent": user_agent, "accept": "*/*", "accept-encoding": "gzip"}
        self._own = {name.lower(): value for name, value in (headers or {}).items()} | (auth.headers() if auth else {})
        self._secrets = [*(s for s in secrets if s), *(s for s in (auth.secrets() if auth else ()) if s)]
        self._clock, self._monotonic, self._sleep = clock, monotonic, sleep
        self._base_s, self._max_wait_s, self._random = backoff_base_s, max_wait_s, random.Random(seed)
        self._pace = Pace(per_host_interval_s, monotonic, sleep)

    def __repr__(self) -> str:
        return f"Client(timeout_s={self.timeout_s}, max_bytes={self.max_bytes}, retries={self.retries})"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._transport.close()

    def get(self, url: str, **options: Any) -> Response:
        """Send a GET; options and errors as `request`."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> Response:
        """Send a POST; options and errors as `request`."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> Response:
        """Send a PUT; options and errors as `request`."""
        return self.request("PUT", url, **options)

    def pages(
        self, url: str, *, follow: Follow, params: Mapping[str, Any] | None = None, max_pages: int = 10_000
    ) -> Iterator[Response]:
        """Get page after page, as `follow` finds the next one (see `mercat.connect.paging`).

        Pages of another origin are refused: the credentials belong to the first. Errors: as `get`.
        """
        yield from walk(self.get, url, follow=follow, params=params, max_pages=max_pages)

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        accept: Collection[int] = _SUCCESS,
        retries: int | None = None,
    ) -> Response:
        """Send a request and return its answer when its status is in `accept` (2xx unless given).

        After a failure that may have had an effect, only GET, HEAD, OPTIONS, PUT, DELETE and requests with an
        `Idempotency-Key` header are sent again.
        """
        request = self._build(
            method.upper(), url, params=params, headers=headers, json=json, data=data, content=content
        )
        tries = self.retries if retries is None else retries
        return self._repeated(request, tries, lambda: self._once(request, accept))

    def _repeated(self, request: httpx.Request, tries: int, act: Callable[[], _Answer]) -> _Answer:
        repeatable = may_repeat(request.method, has_key="idempotency-key" in request.headers)
        for attempt in range(tries + 1):
            try:
                return act()
            except RequestFailed as error:
                if attempt == tries or not self._worth_waiting(error, repeatable=repeatable):
                    raise
                self._wait(error, attempt)
        raise AssertionError("the loop returns or raises")

    def lines(
        self,
        url: str,
        *,
        json: Any,
        headers: Mapping[str, str] | None = None,
        total_s: float = 600.0,
    ) -> Iterator[str]:
        """Send a POST and yield the lines of its answer as they arrive, without their ends.

        `timeout_s` bounds the wait for the first byte and each silence after it, `total_s` the whole. The request is
        sent again as `request` does it, but never after the first line. Close the iterator to hang up early. Raises
        RequestFailed for an answer that is packed.
        """
        given = {"accept-encoding": "identity", **(headers or {})}
        request = self._build("POST", url, params=None, headers=given, json=json, data=None, content=None)
        until = self._monotonic() + total_s
        answer = self._repeated(request, self.retries, lambda: self._opened(request, total_s))
        try:
            chunks = timed_chunks(
                answer.iter_raw(),
                within=self._deadline.within,
                pause_s=self.timeout_s,
                left_s=lambda: until - self._monotonic(),
            )
            with self._explained(request):
                yield from lines_of(chunks, max_bytes=self.max_bytes, shown=self._masked(shown_url(request.url)))
        finally:
            answer.close()

    def _opened(self, request: httpx.Request, total_s: float) -> httpx.Response:
        """Send a request and return the answer unread, once its status is a success."""
        self._pace.wait(request.url.host)
        with self._explained(request), self._deadline.within(min(self.timeout_s, total_s)):
            answer = self._transport.handle_request(_timed(request, self.timeout_s))
            try:
                packed = answer.headers.get("content-encoding", "identity")
                if answer.status_code in _SUCCESS and packed == "identity":
                    return answer
                shown = self._masked(shown_url(request.url))
                body = read_body(answer.iter_raw(), encoding=packed, max_bytes=self.max_bytes, shown=shown)
            except BaseException:
                answer.close()
                raise
        answer.close()
        if answer.status_code in _SUCCESS:
            raise RequestFailed(self._asked(request), f"It is packed as '{packed}'", "a server that sends it plain")
        raise self._bad_status(
            request, Response(answer.status_code, dict(answer.headers.items()), body, str(request.url))
        )

    def _build(
        self, method: str, url: str, *, json: Any, headers: Mapping[str, str] | None, **parts: Any
    ) -> httpx.Request:
        target = self._guard.check_url(url)
        params = parts.pop("params")
        if params:
            target = target.copy_merge_params({name: value for name, value in params.items() if value is not None})
        given = self._common | self._own | {name.lower(): value for name, value in (headers or {}).items()}
        if json is not None:
            parts["content"] = _json.dumps(json, ensure_ascii=False, allow_nan=False).encode()
            given.setdefault("content-type", "application/json")
        request = httpx.Request(method, target, headers=given, **parts)
        request.read()
        return request

    def _once(self, request: httpx.Request, accept: Collection[int]) -> Response:
        hops: list[tuple[int, str]] = []
        with self._deadline.within(self.timeout_s):
            while True:
                response = self._exchange(request, tuple(hops))
                if response.status in accept:
                    return response
                if response.status not in _REDIRECTS or not response.header("location"):
                    raise self._bad_status(request, response)
                if len(hops) == _MAX_REDIRECTS:
                    raise RequestFailed(
                        self._asked(request), f"More than {_MAX_REDIRECTS} redirects", "the final address"
                    )
                request = self._redirected(request, response)
                hops.append((response.status, str(request.url)))

    def _exchange(self, request: httpx.Request, hops: tuple[tuple[int, str], ...]) -> Response:
        self._pace.wait(request.url.host)
        with self._explained(request):
            answer = self._transport.handle_request(_timed(request, self.timeout_s))
            try:
                body = read_body(
                    answer.iter_raw() if request.method != "HEAD" else (),
                    encoding=answer.headers.get("content-encoding", ""),
                    max_bytes=self.max_bytes,
                    shown=self._masked(shown_url(request.url)),
                )
            finally:
                answer.close()
        return Response(answer.status_code, dict(answer.headers.items()), body, str(request.url), hops)

    @contextmanager
    def _explained(self, request: httpx.Request) -> Iterator[None]:
        """Say in mercat's terms why a connection failed or broke."""
        try:
            yield
        except _NOT_SENT as error:
            found = f"No connection ({self._masked(str(error)) or type(error).__name__})"
            raise RequestFailed(
                self._asked(request), found, "check the address and the network", passing=True
            ) from None
        except _BROKEN as error:
            found = f"No whole answer within {self.timeout_s:g} s ({type(error).__name__})"
            raise RequestFailed(self._asked(request), found, "again later", maybe_done=True, passing=True) from None
        except httpcore.UnsupportedProtocol as error:
            raise RequestFailed(self._asked(request), self._masked(str(error))) from None

    def _redirected(self, request: httpx.Request, response: Response) -> httpx.Request:
        target = self._guard.check_url(str(request.url.join(self._location(request, response))))
        same_origin = _origin(target) == _origin(request.url)
        reading = request.method in ("GET", "HEAD")
        if not reading and response.status != 303 and (response.status in (301, 302) or not same_origin):
            found = f"Status {response.status} sends it on to {self._masked(shown_url(target))}"
            raise RequestFailed(self._asked(request), found, "the final address", status=response.status)
        method = request.method if reading or response.status != 303 else "GET"
        kept = {name: value for name, value in request.headers.items() if same_origin or name in _HARMLESS}
        kept.pop("host", None)
        if method != request.method:
            kept = {name: value for name, value in kept.items() if not name.startswith("content-")}
        content = request.content if method == request.method else None
        follow = httpx.Request(method, target, headers=kept, content=content or None)
        follow.read()
        return follow

    def _location(self, request: httpx.Request, response: Response) -> str:
        location = response.header("location")
        try:
            request.url.join(location)
        except (httpx.InvalidURL, ValueError):
            raise RequestFailed(self._asked(request), "It redirects to something unreadable", "") from None
        return location

    def _bad_status(self, request: httpx.Request, response: Response) -> RequestFailed:
        excerpt = " ".join(response.text[:2_000].split())[:200]
        found = f"Status {response.status}" + (f": {self._masked(excerpt)}" if excerpt else "")
        return RequestFailed(
            self._asked(request),
            found,
            _CURES.get(
                response.status, "again later" if response.status >= 500 else "check the URL and its parameters"
            ),
            status=response.status,
            maybe_done=response.status >= 500,
            passing=response.status in PASSING,
            retry_after_s=retry_after_s(response.header("retry-after"), now=self._clock()),
        )

    def _worth_waiting(self, error: RequestFailed, *, repeatable: bool) -> bool:
        too_long = (error.retry_after_s or 0.0) > self._max_wait_s
        return error.passing and not too_long and (repeatable or not error.maybe_done)

    def _wait(self, error: RequestFailed, attempt: int) -> None:
        pause = backoff_s(attempt, base_s=self._base_s, cap_s=self._max_wait_s, random=self._random)
        self._sleep(max(pause, error.retry_after_s or 0.0))

    def _asked(self, request: httpx.Request) -> str:
        return self._masked(f"{request.method} {shown_url(request.url)}")

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


_CURES = {
    401: "check the user name, password or token of this section",
    403: "check the rights of this account",
    429: "a larger per_host_interval_s, or later",
}


def _timed(request: httpx.Request, timeout_s: float) -> httpx.Request:
    request.extensions = {"timeout": {"connect": timeout_s, "read": timeout_s, "write": timeout_s, "pool": timeout_s}}
    return request


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)
