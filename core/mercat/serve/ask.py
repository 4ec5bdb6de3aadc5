"""The API of the services: one typed route each, made from the dataclasses of the service."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from mercat.serve.batching import Batcher
from mercat.serve.metrics import Metrics
from mercat.serve.settings import Settings
from mercat.services import answer_type, request_type
from mercat.web.access import require
from mercat.web.schema import model_of, to_dataclass, to_json

if TYPE_CHECKING:
    from mercat.workspace import Workspace

PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"description": "No key or session, or not a good one"},
    403: {"description": "The key may not do this"},
    413: {"description": "The body is too large"},
    422: {"description": "The request cannot be used: asked, found, next"},
    429: {"description": "Too many requests; see Retry-After"},
    503: {"description": "Not ready, or too much waits; see Retry-After"},
}


@dataclasses.dataclass(frozen=True, slots=True)
class Served:
    """One service as it is served."""

    name: str
    summary: str
    request: type
    answer: type
    batcher: Batcher[Any, Any]

    @property
    def url(self) -> str:
        return f"/v1/services/{self.name}"


def served(workspace: Workspace, name: str, *, settings: Settings, metrics: Metrics) -> Served:
    """Return a service behind its batcher."""
    service = workspace.get("services", name)
    batcher: Batcher[Any, Any] = Batcher(
        lambda requests: workspace.answer_many(name, requests),
        max_batch=settings.max_batch,
        max_wait_s=settings.max_wait_ms / 1000,
        max_queue=settings.max_queue,
        timeout_s=settings.answer_timeout_s,
        observe=metrics.batch_observer(name),
        name=name,
    )
    metrics.watch_queue(name, lambda: batcher.waiting)
    summary = workspace.part(workspace.config.section("services", name)).summary or _first_line(service)
    return Served(name, summary, request_type(service), answer_type(service), batcher)


def api(services: list[Served], *, settings: Settings) -> APIRouter:
    """Return the router of all services, to be mounted at `/v1`."""
    router = APIRouter(tags=["services"], responses=PROBLEMS)

    @router.get("/services", summary="The services of this server", dependencies=[require("ask")])
    def list_services() -> dict[str, Any]:
        return {"services": [described(service, settings) for service in services]}

    for service in services:
        router.add_api_route(
            f"/services/{service.name}",
            _asker(service, settings),
            methods=["POST"],
            name=f"ask_{service.name}",
            operation_id=f"ask_{service.name}",
            summary=service.summary,
            description=inspect.getdoc(service.request) or "",
            dependencies=[require("ask")],
            response_model=None,
            responses={200: {"model": model_of(service.answer, strict=False), "description": "The answer"}},
        )
    return router


def described(service: Served, settings: Settings) -> dict[str, Any]:
    """Return what a client needs to know of a service: its address and the schema of its requests."""
    schema = model_of(service.request, strict=True, max_text=settings.max_text).model_json_schema()
    return {"name": service.name, "summary": service.summary, "url": service.url, "request": schema}


def _asker(service: Served, settings: Settings) -> Any:
    async def ask(request: Request, body: Any) -> JSONResponse:
        asked = to_dataclass(service.request, body)
        if not asked.id:
            asked = dataclasses.replace(asked, id=request.state.request_id)
        return JSONResponse(to_json(await service.batcher.ask(asked)))

    ask.__annotations__ = {
        "request": Request,
        "body": model_of(service.request, strict=True, max_text=settings.max_text),
        "return": JSONResponse,
    }
    return ask


def _first_line(service: Any) -> str:
    return (inspect.getdoc(type(service)) or "").partition("\n")[0]
