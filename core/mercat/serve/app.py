"""The ASGI app: answers `/healthz` at once, loads in the background, then serves services, routers and pages."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from mercat.errors import DataError, MercatError
from mercat.serve.batching import Overloaded
from mercat.serve.gate import SESSION_COOKIE, StoreGate
from mercat.serve.host import Host
from mercat.serve.middleware import BodyLimit, Failures, RequestRecord, json_log
from mercat.serve.mount import add_assets, check
from mercat.serve.settings import Settings
from mercat.serve.signin import sign_in_router
from mercat.serve.system import system_router
from mercat.web.access import NotSignedIn, TooMany
from mercat.web.headers import SecurityHeaders
from mercat.web.problems import error_response, problem, status_of, wants_page
from mercat.web.visitor import VISITOR_COOKIE

if TYPE_CHECKING:
    from mercat.workspace import Workspace

RETRY_S = "2"


def create_app(
    open_workspace: Callable[[], Workspace],
    *,
    preload: bool = False,
    settings: Settings | None = None,
    log: Any = None,
    background: Callable[[Workspace, threading.Event], None] | None = None,
) -> FastAPI:
    """Return the app.

    `open_workspace` is called in the background after the start, or, with `preload`, right now: then what is wrong with
    the configuration is raised here. `settings` replaces the `[mercat.serve]` table. `app.state.host.on_failure` is
    called when loading fails. `background` runs in a thread of its own from ready on, until its event is set.
    """
    log = log or json_log()
    host = Host(open_workspace, log=log, settings=settings)
    host.background = background

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if not preload:
            host.start(app, asyncio.get_running_loop())
        yield
        await host.close()

    app = FastAPI(
        title="mercat", version=_version(), docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan
    )
    app.state.host, app.state.nav, app.state.frame_origins = host, [], ()
    app.state.gate = StoreGate(secrets.token_bytes(32), host.settings)
    _handle_errors(app, host)
    app.add_middleware(BodyLimit, max_bytes=lambda: host.settings.max_body_bytes)
    app.add_middleware(Failures, log=log)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestRecord, metrics=host.metrics, log=log)
    add_assets(app, "mercat.web")
    app.include_router(system_router())
    app.include_router(sign_in_router())
    check(app.routes, "mercat")
    if preload:
        host.show(app, host.load())
    return app


def _handle_errors(app: FastAPI, host: Host) -> None:
    async def known(request: Request, error: Exception) -> Response:
        if isinstance(error, Overloaded | TooMany):
            status = 503 if isinstance(error, Overloaded) else 429
            return error_response(request, status, error, {"Retry-After": str(error.retry_after_s)})
        if isinstance(error, NotSignedIn):
            return _to_sign_in(request, error)
        if not isinstance(error, MercatError):
            raise error
        status = status_of(error)
        if status >= 500:
            host.log.error("refused", error=type(error).__name__, request_id=request.state.request_id)
        return error_response(request, status, error)

    async def http(request: Request, error: Exception) -> Response:
        status, detail, headers = 500, "", None
        if isinstance(error, HTTPException):
            status, detail, headers = error.status_code, str(error.detail), error.headers
        if status == 404 and host.readiness.state != "ready":
            loading = MercatError("mercat is starting", "Models are being loaded", "again in a moment")
            return error_response(request, 503, loading, {"Retry-After": RETRY_S})
        told = MercatError(f"{request.method} {request.url.path}", detail, "/docs shows what is served")
        return error_response(request, status, told, headers)

    async def unusable(request: Request, error: Exception) -> Response:
        found = error.errors() if isinstance(error, RequestValidationError) else []
        rows = [{"where": ".".join(map(str, row["loc"])), "problem": row["msg"], "kind": row["type"]} for row in found]
        said = "; ".join(f"{row['where']}: {row['problem']}" for row in rows[:5])
        asked = DataError(f"{request.method} {request.url.path}", said, "/docs shows the fields")
        if wants_page(request):
            return error_response(request, 422, asked)
        request_id = request.state.request_id
        return problem(422, asked.asked, asked.found, asked.next, errors=rows[:50], request_id=request_id)

    app.add_exception_handler(MercatError, known)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, unusable)


def _to_sign_in(request: Request, error: NotSignedIn) -> Response:
    """A person is taken to the sign-in page and back; a program gets 401. Cookies that are no good are dropped."""
    response: Response
    if wants_page(request) and request.method == "GET":
        response = RedirectResponse(f"/sign-in?next={quote(request.url.path)}", 303)
    else:
        response = error_response(request, 401, error, {"WWW-Authenticate": "Bearer"})
        if request.headers.get("HX-Request"):
            response.headers["HX-Redirect"] = "/sign-in"
    if not hasattr(request.state, "caller") and not request.headers.get("authorization"):
        for name in {SESSION_COOKIE, VISITOR_COOKIE} & set(request.cookies):
            response.delete_cookie(name, path="/")
    return response


def _version() -> str:
    try:
        return version("mercat")
    except PackageNotFoundError:
        return "0"
