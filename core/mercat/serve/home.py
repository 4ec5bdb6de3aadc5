"""The first page, the description of the API, and the page from which the server is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastapi import Request

from mercat.serve.ask import Served, described
from mercat.web.language import language_of
from mercat.web.pages import Page, Router, nav_for

if TYPE_CHECKING:
    from mercat.serve.host import Host

OUTBOX_SHOWN = 20


def home_router(host: Host) -> Router:
    """Return the server's own pages."""
    router = Router("mercat.serve")

    @router.page(Page("home.title", "/", "home.html", nav="", scope="public"))
    def home(request: Request) -> dict[str, Any]:
        who = request.state.caller
        pages = [entry for entry in nav_for(request, who, language_of(request)) if entry["section"]]
        return {"services": host.services if who.may("ask") else [], "pages": pages}

    @router.page(Page("docs.title", "/docs", "docs.html", nav="docs.nav"))
    def docs(request: Request) -> dict[str, Any]:
        shown = [_documented(service, host) for service in host.services]
        return {"services": shown, "address": str(request.base_url).rstrip("/")}

    @router.page(Page("operations.title", "/operations", "operations.html", nav="operations.nav", scope="operate"))
    def operations() -> dict[str, Any]:
        return _operations(host)

    return router


def _documented(service: Served, host: Host) -> dict[str, Any]:
    told = described(service, host.settings)
    properties: Mapping[str, Any] = told["request"].get("properties", {})
    needed = told["request"].get("required", [])
    fields = [(name, _kind(field), name in needed) for name, field in properties.items()]
    sample = {name: _sample(field) for name, field in properties.items() if name in needed or name == "text"}
    return {**told, "fields": fields, "sample": json.dumps(sample, indent=2, ensure_ascii=False)}


def _kind(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " | ".join(_kind(option) for option in field["anyOf"])
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "enum" in field:
        return " | ".join(str(value) for value in field["enum"])
    if field.get("type") == "array":
        return f"list of {_kind(field.get('items', {}))}"
    return str(field.get("format") or field.get("type") or "any")


def _sample(field: Mapping[str, Any]) -> Any:
    samples: dict[str, Any] = {"string": "…", "integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}}
    return field.get("default") or samples.get(str(field.get("type")))


def _operations(host: Host) -> dict[str, Any]:
    workspace = host.workspace
    store = workspace.store
    backlog = host.backlog()
    sources = [
        (name, section.use, section.flow.get("collection", ""), section.flow.get("every_s", ""))
        for name, section in workspace.config.sections("sources").items()
    ]
    waiting = [row for state in ("dead", "waiting") for row in store.outbox(state, limit=OUTBOX_SHOWN)]
    return {
        "backlog": backlog,
        "sources": sources,
        "cursors": sorted(store.cursors().items()),
        "collections": store.collections(),
        "outbox": waiting[:OUTBOX_SHOWN],
        "artifacts": workspace.artifacts.list(),
        "plugins": host.plugins(),
        "parts": sorted(host.readiness.took_s.items()),
        "services": host.services,
    }
