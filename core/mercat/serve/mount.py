"""Plugins' routers: mounted under their section's name, refused when a route does not say who may use it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import resources
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from mercat.errors import ConfigError
from mercat.web.access import Requirement, requirement_of
from mercat.web.pages import NavEntry, Router

RESERVED = frozenset(
    {"v1", "assets", "healthz", "readyz", "metrics", "sign-in", "sign-out", "language", "operations", "docs"}
)


def mount(app: FastAPI, name: str, router: Any) -> None:
    """Serve a plugin's router at `/name`. Raises ConfigError for a name that is taken or a route without a scope."""
    if name in RESERVED or not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
        raise ConfigError(f"[routers.{name}] cannot be served at /{name}", "The name is taken or odd", "another name")
    if not isinstance(router, APIRouter):
        found = f"It gives a {type(router).__name__}"
        raise ConfigError(f"[routers.{name}] cannot be served", found, "a factory that returns mercat.web.Router")
    check(router.routes, f"[routers.{name}]")
    if isinstance(router, Router):
        router.base = f"/{name}"
        add_assets(app, router.package)
        app.state.nav = [*app.state.nav, *nav_of(router, name)]
    app.include_router(router, prefix=f"/{name}", tags=[name])


def nav_of(router: Router, section: str = "") -> list[NavEntry]:
    """Return the bar's entries of a router's pages."""
    return [
        NavEntry(page.nav, (router.base + page.path.rstrip("/")) or "/", router.package, page.scope, section, page.note)
        for page in router.pages
        if page.nav
    ]


def check(routes: Iterable[BaseRoute], where: str) -> None:
    """Raise ConfigError for the first route that carries no `require(scope)`."""
    for route, requirement in requirements(routes):
        if requirement is None:
            raise ConfigError(
                f"{where} has the route {route}", "It does not say who may use it", 'dependencies=[require("ask")]'
            )


def requirements(routes: Iterable[BaseRoute]) -> list[tuple[str, Requirement | None]]:
    """Return "METHOD /path" and the requirement of every route; those of assets are not listed."""
    found = []
    for context in iter_route_contexts(list(routes)):
        if isinstance(context.original_route, Mount) and str(context.path).startswith("/assets/"):
            continue
        requirement = requirement_of(getattr(context, "dependant", None))
        for method in sorted(context.methods or {"ANY"}):
            found.append((f"{method} {context.path}", requirement))
    return found


def add_assets(app: FastAPI, package: str) -> None:
    """Serve a package's `assets/` folder, if it has one, at `/assets/package`."""
    path = f"/assets/{package}"
    if any(getattr(route, "path", "") == path for route in app.routes):
        return
    if (resources.files(package) / "assets").is_dir():
        app.mount(path, _Assets(packages=[(package, "assets")]), name=path)


class _Assets(StaticFiles):
    """Files whose address changes with their content, so that browsers may keep them."""

    def file_response(self, *args: Any, **kwargs: Any) -> Any:
        response = super().file_response(*args, **kwargs)
        response.headers.setdefault("Cache-Control", "public, max-age=31536000, immutable")
        return response
