"""Around every request: an id, a log line, a measurement, a limit on its size, and an answer whatever happens."""

from __future__ import annotations

import re
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any, TextIO

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mercat.errors import MercatError
from mercat.serve.metrics import Metrics
from mercat.web.problems import error_response, problem

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
QUIET = {"/healthz", "/readyz", "/metrics"}
Log = Any


def json_log(stream: TextIO | None = None) -> Log:
    """Return a logger that writes one JSON object per line; it configures nothing for anybody else."""
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(ensure_ascii=True),
    ]
    return structlog.wrap_logger(structlog.PrintLogger(stream or sys.stderr), processors=processors)


class RequestRecord:
    """Gives each request its id (`X-Request-ID`, theirs if it is a plain one), measures it and logs one line.

    The line has the route's template, never the path, the query or the body: those may hold texts and names.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, log: Log) -> None:
        self.app, self.metrics, self.log = app, metrics, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        theirs = Headers(scope=scope).get("x-request-id", "")
        request_id = theirs if REQUEST_ID.fullmatch(theirs) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status, started = 500, time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, took_s: float) -> None:
        route, method = route_of(scope), scope["method"] if scope["method"] in METHODS else "other"
        self.metrics.requests.labels(method, route, str(status)).inc()
        self.metrics.latency.labels(route).observe(took_s)
        if route in QUIET and status < 400:
            return
        caller = scope["state"].get("caller")
        self.log.info(
            "request",
            request_id=scope["state"]["request_id"],
            method=method,
            route=route,
            status=status,
            ms=round(took_s * 1000, 1),
            caller=getattr(caller, "kind", "anonymous"),
        )


METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}


def route_of(scope: Scope) -> str:
    """Return the template of the matched route with its prefix, "unmatched" where there is none."""
    if scope["path"].startswith("/assets/"):
        return "/assets"
    context = scope.get("fastapi", {}).get("effective_route_context")
    found = context or scope.get("route")
    return str(getattr(found, "path", "unmatched"))


class Failures:
    """Turns an exception that nobody expected into a 500 that names the request, and logs it with its trace."""

    def __init__(self, app: ASGIApp, *, log: Log) -> None:
        self.app, self.log = app, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            request_id = scope["state"]["request_id"]
            self.log.error("failed", request_id=request_id, route=route_of(scope), exc_info=_without_values(error))
            if begun:
                raise
            found = MercatError("This request", "The server failed", f"the server's log, request {request_id}")
            await error_response(Request(scope), 500, found)(scope, receive, send)


def _without_values(error: Exception) -> Any:
    """Return exc_info without the exception's message, which may quote the request."""
    hidden = _Hidden(type(error).__name__)
    return (_Hidden, hidden, error.__traceback__)


class _Hidden(Exception):
    """Stands for an exception in the log."""


class BodyLimit:
    """Refuses bodies above a size with 413, by their announced length or when they turn out to be longer."""

    def __init__(self, app: ASGIApp, *, max_bytes: Callable[[], int]) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit, seen = self.max_bytes(), 0
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdigit() and int(announced) > limit:
            await self._refusal(scope, limit)(scope, receive, send)
            return

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise TooLarge(limit)
            return message

        try:
            await self.app(scope, counted, send)
        except TooLarge:
            await self._refusal(scope, limit)(scope, receive, send)

    def _refusal(self, scope: Scope, limit: int) -> Any:
        request_id = scope.get("state", {}).get("request_id", "")
        return problem(
            413, "This request's body", f"It is above {limit:,} bytes", "send less at once", request_id=request_id
        )


class TooLarge(BaseException):
    """A body went over the limit while it was read; not an Exception, so that no parser swallows it."""
