"""Errors over HTTP: `application/problem+json` (RFC 9457) with asked, found and next; a page for browsers."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from starlette.responses import JSONResponse, Response

from mercat.errors import AccessError, ConnectError, DataError, MercatError, StoreError
from mercat.web.access import NotSignedIn, TooMany

STATUS: tuple[tuple[type[MercatError], int], ...] = (
    (NotSignedIn, 401),
    (TooMany, 429),
    (AccessError, 403),
    (DataError, 422),
    (StoreError, 503),
    (ConnectError, 502),
)


def status_of(error: MercatError) -> int:
    """Return the HTTP status that says the same as the error's class."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def problem(
    status: int,
    asked: str,
    found: str = "",
    next: str = "",
    *,
    headers: Mapping[str, str] | None = None,
    errors: list[dict[str, Any]] | None = None,
    request_id: str = "",
) -> JSONResponse:
    """Return a problem+json response."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": str(MercatError(asked, found, next)),
        "asked": asked,
        "found": found,
        "next": next,
    }
    if errors:
        body["errors"] = errors
    if request_id:
        body["request_id"] = request_id
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def wants_page(request: Request) -> bool:
    """Return whether a person with a browser asks: then an error is a page."""
    if request.url.path.startswith("/v1/") or request.headers.get("HX-Request"):
        return False
    return "text/html" in request.headers.get("accept", "")


def error_response(
    request: Request, status: int, error: MercatError, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the error as a page for browsers and as problem+json for everybody else."""
    from mercat.web.pages import CORE_PAGES  # late: pages need access, which problems serve too

    if wants_page(request):
        return CORE_PAGES.render(
            request, "error.html", status=status, error=error, title=HTTPStatus(status).phrase, response_headers=headers
        )
    request_id = getattr(request.state, "request_id", "")
    return problem(status, error.asked, error.found, error.next, headers=headers, request_id=request_id)
