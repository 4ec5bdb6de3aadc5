"""Pages: a router that shows templates inside mercat's shell, with the bar, both languages and the shared components.

Templates come from packages only: a router's own `templates/` folder, and the core's under `mercat/`
(`{% extends "mercat/base.html" %}`, `{% import "mercat/components.html" as ui %}`). Jinja2 escapes everything.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from mercat.web.access import ANONYMOUS, Caller, Scope, require
from mercat.web.csrf import CSRF_COOKIE, CSRF_FIELD, new_nonce
from mercat.web.language import LANGUAGES, language_of, translator

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a router.

    `title`, `nav` and `note` are message keys (or plain texts). With `nav` the page has an entry in the bar, and a card
    with its `note` on the first page, for callers that hold `scope`. `path` is relative to where the router is
    mounted. `embed` lets the allowed sites frame it.
    """

    title: str
    path: str
    template: str
    nav: str = ""
    scope: Scope = "ask"
    embed: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class NavEntry:
    """One entry of the bar, as `serve` collects them in `request.app.state.nav`."""

    label: str
    url: str
    package: str
    scope: Scope
    section: str = ""
    note: str = ""


class Router(APIRouter):
    """An APIRouter with pages. `package` is where its `templates/`, `messages/` and `assets/` folders are.

    `serve` mounts it under its section's name and sets `base` to that: `[routers.desk]` is served at `/desk`.
    """

    def __init__(self, package: str, **options: Any) -> None:
        super().__init__(**options)
        self.package, self.base = package, ""
        self.pages: list[Page] = []

    def page(self, page: Page) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Serve a page: the function returns the template's variables, or a Response of its own."""
        self.pages.append(page)

        def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
            self.add_api_route(
                page.path,
                self._shown(page, view),
                methods=["GET"],
                dependencies=[require(page.scope)],
                response_class=HTMLResponse,
                response_model=None,
                include_in_schema=False,
                name=view.__name__,
            )
            return view

        return decorate

    def render(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        response_headers: Mapping[str, str] | None = None,
        **context: Any,
    ) -> HTMLResponse:
        """Return a template of this router (a whole page or a piece for htmx) filled with `context`.

        Templates also see: `t`, `language`, `base`, `who` (the Caller), `csrf_token`, `nav`, `asset(path, package)`.
        """
        nonce = request.cookies.get(CSRF_COOKIE) or new_nonce()
        filled = {**self._shell(request, nonce), "status": status, **context}
        html = environment(self.package).get_template(template).render(filled)
        response = HTMLResponse(html, status, response_headers)
        if CSRF_COOKIE not in request.cookies:
            set_cookie(request, response, CSRF_COOKIE, nonce)
        return response

    def _shown(self, page: Page, view: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(view, eval_str=True)
        takes_request = "request" in signature.parameters

        def finish(request: Request, content: Any) -> Response:
            request.state.embed = getattr(request.app.state, "frame_origins", ()) if page.embed else ()
            if isinstance(content, Response):
                return content
            return self.render(request, page.template, **{"title": page.title, **(content or {})})

        @functools.wraps(view)
        async def shown_async(request: Request, **values: Any) -> Response:
            return finish(request, await view(**values, **({"request": request} if takes_request else {})))

        @functools.wraps(view)
        def shown(request: Request, **values: Any) -> Response:
            return finish(request, view(**values, **({"request": request} if takes_request else {})))

        chosen: Any = shown_async if inspect.iscoroutinefunction(view) else shown
        own = inspect.Parameter("request", inspect.Parameter.KEYWORD_ONLY, annotation=Request)
        others = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in signature.parameters.values()]
        chosen.__signature__ = signature.replace(
            parameters=[*([] if takes_request else [own]), *others], return_annotation=Response
        )
        return chosen  # type: ignore[no-any-return]

    def _shell(self, request: Request, nonce: str) -> dict[str, Any]:
        who: Caller = getattr(request.state, "caller", ANONYMOUS)
        language = language_of(request)
        gate = getattr(request.app.state, "gate", None)
        return {
            "request": request,
            "t": translator(self.package, language),
            "language": language,
            "languages": LANGUAGES,
            "base": self.base,
            "who": who,
            "here": request.url.path,
            "csrf_field": CSRF_FIELD,
            "csrf_token": gate.csrf.token(nonce, who.session) if gate else "",
            "nav": nav_for(request, who, language),
            "asset": asset_url,
            "package": self.package,
        }


def nav_for(request: Request, who: Caller, language: str) -> list[dict[str, Any]]:
    """Return the entries of the bar that `who` may open, in the page's language, with the open one marked."""
    entries: Sequence[NavEntry] = getattr(request.app.state, "nav", ())
    path = request.url.path.rstrip("/") or "/"
    return [
        {
            "label": translator(entry.package, language)(entry.label),
            "url": entry.url,
            "section": entry.section,
            "note": translator(entry.package, language)(entry.note) if entry.note else "",
            "current": path == entry.url or path.startswith(entry.url.rstrip("/") + "/"),
        }
        for entry in entries
        if who.may(entry.scope)
    ]


def set_cookie(request: Request, response: Response, name: str, value: str, *, max_age_s: int | None = None) -> None:
    """Set an HttpOnly, SameSite=Lax cookie, Secure unless the browser talks to this very machine over http."""
    secure = request.url.scheme == "https" or (request.url.hostname or "") not in LOOPBACK
    response.set_cookie(name, value, max_age=max_age_s, httponly=True, samesite="lax", secure=secure, path="/")


@functools.lru_cache(maxsize=32)
def environment(package: str) -> jinja2.Environment:
    """Return the Jinja2 environment of a package: its own templates, and the core's under `mercat/`."""
    core = jinja2.PrefixLoader({"mercat": jinja2.PackageLoader("mercat.web")})
    has_own = (resources.files(package) / "templates").is_dir()
    own = [jinja2.PackageLoader(package)] if has_own else []
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([*own, core]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@functools.lru_cache(maxsize=256)
def asset_url(path: str, package: str = "mercat.web") -> str:
    """Return the address of a file in a package's `assets/` folder; it changes when the file does."""
    content = (resources.files(package) / "assets" / path).read_bytes()
    return f"/assets/{package}/{path}?v={hashlib.sha256(content).hexdigest()[:12]}"


CORE_PAGES = Router("mercat.web")
"""Renders the core's own pages, such as errors; it has no routes."""
