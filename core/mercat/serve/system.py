"""The server's own small routes: health, readiness, metrics, the API's description, the language switch."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, RedirectResponse, Response

from mercat.errors import DataError
from mercat.web.access import require
from mercat.web.language import LANGUAGE_COOKIE, LANGUAGES
from mercat.web.pages import set_cookie

YEAR_S = 365 * 24 * 3600


def system_router() -> APIRouter:
    """Return the routes that answer from the first moment on."""
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz", dependencies=[require("public")])
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz", dependencies=[require("public")])
    async def readyz(request: Request) -> JSONResponse:
        details = request.app.state.host.readiness.details()
        if details["status"] == "ready":
            return JSONResponse(details)
        return JSONResponse(details, 503, {"Retry-After": "2"})

    @router.get("/metrics", dependencies=[require("operate")])
    def metrics(request: Request) -> Response:
        host = request.app.state.host
        return Response(host.metrics.text(host.backlog()), media_type=CONTENT_TYPE_LATEST)

    @router.get("/openapi.json", dependencies=[require("ask")])
    def openapi(request: Request) -> dict[str, Any]:
        described: dict[str, Any] = request.app.openapi()
        return described

    @router.get("/language/{code}", dependencies=[require("public")])
    def language(request: Request, code: str, next: str = "/") -> Response:
        if code not in LANGUAGES:
            raise DataError(f"The language '{code}'", f"Known: {', '.join(LANGUAGES)}", "one of these")
        response = RedirectResponse(local(next), 303)
        set_cookie(request, response, LANGUAGE_COOKIE, code, max_age_s=YEAR_S)
        return response

    return router


def local(target: str) -> str:
    """Return `target` when it is a path on this server, else "/": nobody is sent elsewhere by a link to us."""
    parts = urlsplit(target)
    odd = "\\" in target or any(ord(letter) < 33 or ord(letter) == 127 for letter in target)
    if odd or parts.scheme or parts.netloc or not target.startswith("/") or target.startswith("//"):
        return "/"
    return target
