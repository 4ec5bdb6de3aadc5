"""The chat page for visitors and testers, the desk of the people behind it, and the API of a chat window elsewhere."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

import pydantic
from fastapi import Form, HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from mercat.errors import UnknownName
from mercat.web import VISITOR_COOKIE, Caller, Page, Router, ask, require, to_json
from mercat.web.pages import set_cookie
from mercat_customer_service.conversations import MAX_CHARS, STATES
from mercat_customer_service.service import CustomerService
from mercat_customer_service.tables import ConversationRow, TurnRow
from mercat_customer_service.values import Turn

Text = Annotated[str, Form(min_length=1, max_length=MAX_CHARS)]
RequestId = Annotated[str, Form(max_length=64)]
NAME = r"^[A-Za-z0-9_.:-]{1,64}$"
VISITOR_AGE_S = 24 * 3600


class NewConversation(pydantic.BaseModel):
    """Who a conversation is with, if that is known, and in which language it begins."""

    customer: str = pydantic.Field("", max_length=200)
    locale: str = pydantic.Field("", max_length=16)


class NewTurn(pydantic.BaseModel):
    """What the customer says. The same `id` sent again gets the same reply and has no second effect."""

    text: str = pydantic.Field(min_length=1, max_length=MAX_CHARS)
    id: str = pydantic.Field("", max_length=64)


def desk(service: CustomerService, *, visitors: bool = False) -> Router:
    """Return the pages and the API of one desk.

    With `visitors` anybody may open the chat page, also inside the frames of the sites that the server allows; a
    visitor then sees its own conversation and nothing else. Without it the page is for those who may `ask`.
    """
    router = Router("mercat_customer_service")

    @router.get("", dependencies=[require("public" if visitors else "ask")], include_in_schema=False)
    def enter(request: Request) -> Response:
        page = "conversations" if request.state.caller.may("operate") else "chat"
        return RedirectResponse(f"{router.base}/{page}", 303)

    _add_chat(router, service, visitors)
    _add_desk(router, service)
    _add_api(router, service)
    return router


def _add_chat(router: Router, service: CustomerService, visitors: bool) -> None:
    page = Page(
        "chat.title",
        "/chat",
        "chat.html",
        nav="chat.nav",
        scope="public" if visitors else "ask",
        embed=visitors,
        note="chat.note",
    )
    of_visitor = require("visitor", conversation="conversation")

    @router.page(page)
    def chat(request: Request, conversation: str = "", new: bool = False, framed: bool = False) -> Any:
        who: Caller = request.state.caller
        if who.may("ask"):
            if not conversation or new:
                return RedirectResponse(f"{router.base}/chat?conversation={uuid.uuid4().hex}", 303)
            return {"framed": framed, "token": "", **_talk(service, conversation, who)}
        known = who.kind == "visitor" and not new
        name = who.conversation if known else uuid.uuid4().hex
        token = request.app.state.gate.visitors.issue(name)
        shown = _talk(service, name, who)
        response = router.render(request, "chat.html", title="chat.title", framed=framed, token=token, **shown)
        set_cookie(request, response, VISITOR_COOKIE, token, max_age_s=VISITOR_AGE_S)
        return response

    @router.get("/chat/{conversation}", include_in_schema=False)
    def refresh(request: Request, conversation: str, seen: str = "", caller: Caller = of_visitor) -> Response:
        shown = _talk(service, conversation, caller)
        return Response(status_code=204) if shown["seen"] == seen else router.render(request, "turns.html", **shown)

    @router.post("/chat/{conversation}", include_in_schema=False)
    async def say(
        request: Request, conversation: str, text: Text, id: RequestId = "", caller: Caller = of_visitor
    ) -> Response:
        await ask(request, service.name, Turn(id=id, text=text, conversation=_named(conversation)))
        if not request.headers.get("HX-Request"):
            return RedirectResponse(f"{router.base}/chat?conversation={conversation}", 303)
        shown = await run_in_threadpool(_talk, service, conversation, caller)
        return await run_in_threadpool(lambda: router.render(request, "turns.html", **shown))


def _add_desk(router: Router, service: CustomerService) -> None:
    page = Page("desk.title", "/conversations", "desk.html", nav="desk.nav", scope="operate", note="desk.note")
    one = Page("desk.title", "/conversations/{conversation}", "desk.html", scope="operate")

    @router.page(page)
    def overview(state: str = "") -> dict[str, Any]:
        return {**_listed(service, state), "row": None}

    @router.page(one)
    def opened(conversation: str, state: str = "") -> dict[str, Any]:
        return {**_listed(service, state), **_read(service, conversation)}

    @router.get("/list", dependencies=[require("operate")], include_in_schema=False)
    def refresh_list(request: Request, state: str = "", seen: str = "", open: str = "") -> Response:
        shown = {**_listed(service, state), "open": open}
        return Response(status_code=204) if shown["seen"] == seen else router.render(request, "list.html", **shown)

    @router.get("/conversations/{conversation}/pane", dependencies=[require("operate")], include_in_schema=False)
    def refresh_pane(request: Request, conversation: str, seen: str = "") -> Response:
        shown = _read(service, conversation)
        if shown["pane_seen"] == seen:
            return Response(status_code=204)
        return router.render(request, "pane.html", **shown)

    @router.post("/conversations/{conversation}/state", dependencies=[require("operate")], include_in_schema=False)
    def set_state(request: Request, conversation: str, state: Annotated[str, Form()]) -> Response:
        if state not in STATES:
            raise HTTPException(422, f"The state is one of {', '.join(STATES)}")
        _found(service.desk.set_state, conversation, state)
        return changed(request, conversation)

    @router.post("/conversations/{conversation}/answer", dependencies=[require("operate")], include_in_schema=False)
    def answer(request: Request, conversation: str, text: Text, id: RequestId = "") -> Response:
        _found(service.desk.answer, conversation, text, request_id=id)
        return changed(request, conversation)

    def changed(request: Request, conversation: str) -> Response:
        if not request.headers.get("HX-Request"):
            return RedirectResponse(f"{router.base}/conversations/{conversation}", 303)
        return router.render(request, "pane.html", **_read(service, conversation))


def _add_api(router: Router, service: CustomerService) -> None:
    of_visitor = require("visitor", conversation="conversation")

    @router.post("/api/conversations", dependencies=[require("ask")], summary="Begin a conversation")
    def begin(request: Request, body: NewConversation) -> dict[str, str]:
        """Return its id and the token with which its customer, and nobody else, may take part in it."""
        name = service.desk.begin(customer=body.customer, locale=body.locale)
        return {"conversation": name, "token": request.app.state.gate.visitors.issue(name)}

    @router.post("/api/conversations/{conversation}/turns", dependencies=[of_visitor], summary="Say something")
    async def say(request: Request, conversation: str, body: NewTurn) -> Any:
        """Return the reply: text, action, sources, and options where the desk asks back."""
        turn = Turn(id=body.id, text=body.text, conversation=_named(conversation))
        return to_json(await ask(request, service.name, turn))

    @router.get("/api/conversations/{conversation}/turns", dependencies=[of_visitor], summary="Read what was said")
    def turns(conversation: str, after: int = 0) -> dict[str, Any]:
        """Return the turns after a number, and in whose hands the conversation is: bot, person or closed."""
        row, found = _found(service.desk.read, conversation)
        return {"state": row.state, "turns": [_plain(turn) for turn in _said(found) if turn.number > after]}


def _talk(service: CustomerService, conversation: str, who: Caller) -> dict[str, Any]:
    """Return what the customer's side of a conversation shows; one that has not begun is empty."""
    try:
        row, turns = service.desk.read(_named(conversation))
    except UnknownName:
        row, turns = None, []
    return {
        "conversation": conversation,
        "state": row.state if row else "bot",
        "turns": _said(turns),
        "seen": _seen(row),
        "details": who.may("ask"),
        "request_id": uuid.uuid4().hex,
        "title_of": service.replies.title,
    }


def _read(service: CustomerService, conversation: str) -> dict[str, Any]:
    row, turns = _found(service.desk.read, conversation)
    return {
        "row": row,
        "open": row.id,
        "turns": _said(turns),
        "pane_seen": _seen(row),
        "details": True,
        "request_id": uuid.uuid4().hex,
        "title_of": service.replies.title,
    }


def _listed(service: CustomerService, state: str) -> dict[str, Any]:
    state = state if state in STATES else ""
    rows, counts = service.desk.latest(state=state), service.desk.counts()
    seen = f"{state}/{sum(counts.values())}/" + ",".join(f"{one.row.id[:6]}{_seen(one.row)}" for one in rows)
    return {"rows": rows, "counts": counts, "state": state, "states": STATES, "seen": _short(seen), "open": ""}


def _said(turns: Sequence[TurnRow]) -> list[TurnRow]:
    """Return the turns with words in them: where a person talks the desk keeps silent."""
    return [turn for turn in turns if turn.text]


def _seen(row: ConversationRow | None) -> str:
    """Return what changes when a conversation does."""
    return f"{row.turns}{row.state}" if row else "0"


def _short(text: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_OID, text).hex[:12]


def _plain(turn: TurnRow) -> dict[str, Any]:
    reply = turn.reply or {}
    return {
        "number": turn.number,
        "speaker": turn.speaker,
        "text": turn.text,
        "at": turn.at.isoformat(),
        "action": turn.action,
        "options": reply.get("options", []),
        "evidence": reply.get("evidence", []),
    }


def _named(conversation: str) -> str:
    """Return the name of a conversation. Raises HTTPException 404 for one that no conversation can have."""
    try:
        return str(pydantic.TypeAdapter(Annotated[str, pydantic.Field(pattern=NAME)]).validate_python(conversation))
    except pydantic.ValidationError:
        raise HTTPException(404, "There is no such conversation") from None


def _found(act: Any, conversation: str, *arguments: Any, **named: Any) -> Any:
    """Call with a conversation that must be there. Raises HTTPException 404."""
    try:
        return act(_named(conversation), *arguments, **named)
    except UnknownName as error:
        raise HTTPException(404, error.asked) from error
