from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request

from mercat.web import Caller, Page, Router, require, stream
from serve_demo import Echo, Line


def desk(service: Echo) -> Router:
    router = Router("serve_demo")

    @router.page(Page("desk.title", "", "desk.html", nav="desk.nav", note="desk.lead"))
    def show() -> dict[str, Any]:
        return {"turns": [("visitor", "Where is my parcel? <b>now</b>"), ("bot", "It left our house this morning.")]}

    @router.page(Page("desk.widget", "/widget", "desk.html", scope="public", embed=True))
    async def widget(request: Request) -> dict[str, Any]:
        return {"turns": [], "token": request.app.state.gate.visitors.issue("c1")}

    @router.post("/turns", dependencies=[require("ask")])
    def turn(request: Request, text: Annotated[str, Form(max_length=500)]) -> Any:
        answer = service.answer(Line(text=text))
        return router.render(request, "turn.html", turns=[("visitor", text), ("bot", answer.value["said"])])

    @router.get("/series.json", dependencies=[require("ask")])
    def series() -> dict[str, Any]:
        days = range(40)
        values = [50 + (day * 7) % 23 + day / 2 for day in days]
        return {"x": [1_760_000_000 + day * 86400 for day in days], "series": [{"label": "Turns", "values": values}]}

    @router.get("/conversations/{conversation}")
    def read(conversation: str, caller: Caller = require("visitor", conversation="conversation")) -> dict[str, str]:
        return {"conversation": conversation, "caller": caller.kind}

    @router.post("/conversations/{conversation}/turns")
    def say(conversation: str, caller: Caller = require("visitor", conversation="conversation")) -> dict[str, str]:
        return {"conversation": conversation}

    @router.get("/events", dependencies=[require("ask")])
    def events() -> Any:
        return stream(_ticks())

    @router.delete("/everything", dependencies=[require("admin")])
    def everything() -> dict[str, str]:
        return {"deleted": "everything"}

    return router


async def _ticks() -> AsyncIterator[str]:
    for tick in range(3):
        yield f"<p>{tick}</p>"
        await asyncio.sleep(0)


def without_scope() -> APIRouter:
    router = APIRouter()

    @router.get("/open")
    def leak() -> str:
        return "everything"

    return router
