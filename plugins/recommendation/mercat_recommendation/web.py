"""The page to try a ranking, and the door for events from a shop's own pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request
from pydantic import AwareDatetime, BaseModel, Field

from mercat.store import Store
from mercat.values import Document, Interaction
from mercat.web import Page, Router, require
from mercat.web.language import language_of
from mercat_recommendation.catalogue import categories_of
from mercat_recommendation.live import View
from mercat_recommendation.service import Recommender
from mercat_recommendation.values import RankRequest

_USERS, _SHELF = 12, 24
Text = Annotated[str, Query(max_length=200)]


class EventIn(BaseModel):
    """One event, as a shop's page sends it. Sending an `id` again replaces that event: it counts once."""

    id: str = Field(min_length=1, max_length=200)
    user_id: str = Field(min_length=1, max_length=200)
    item_id: str = Field(min_length=1, max_length=200)
    kind: str = Field(min_length=1, max_length=40)
    at: AwareDatetime
    weight: float = 1.0
    session: str = Field(default="", max_length=200)


def shop(service: Recommender, store: Store, *, events: str) -> Router:
    """Return the router of a recommendation service; `events` is the collection that posted events go to."""
    router = Router(__package__)

    @router.post("/events", dependencies=[require("ask")])
    def take(rows: Annotated[list[EventIn], Field(max_length=1000)]) -> dict[str, int]:
        made = [Interaction(**row.model_dump()) for row in rows]
        return {"stored": len(store.upsert(made, collection=events, source="page").changed)}

    @router.page(Page("recommend.title", "/", "recommend.html", nav="recommend.nav"))
    def page(
        request: Request,
        user: Text = "",
        items: Annotated[str, Query(max_length=4000)] = "",
        category: Text = "",
        q: Text = "",
        diversity: Annotated[float, Query(ge=0, le=1)] = 0.0,
        k: Annotated[int, Query(ge=1, le=100)] = 10,
    ) -> dict[str, Any]:
        view = service.live.view()
        clicked = [item for item in items.split(",") if item]
        asked = RankRequest(
            user_id=user,
            items=clicked,
            k=k,
            diversity=diversity or None,
            locale=language_of(request),
            filters={"category": category} if category else {},
        )
        state = {"user": user, "items": items, "category": category, "q": q, "diversity": diversity, "k": k}
        return {
            "ranking": service.answer(asked),
            "view": view,
            "state": state,
            "link": lambda **changes: _link(router.base, state | changes),
            "add": lambda item: ",".join([*(each for each in clicked if each != item), item]),
            "clicked": [
                view.catalogue.items[view.catalogue.numbers[i]] for i in clicked if i in view.catalogue.numbers
            ],
            "history": _history(view, user),
            "users": _busiest(view),
            "shelf": _shelf(view.catalogue.items, q, clicked),
            "item_of": lambda item: view.catalogue.items[view.catalogue.numbers[item]],
            "categories_of": categories_of,
        }

    return router


def _link(base: str, state: dict[str, Any]) -> str:
    kept = {name: value for name, value in state.items() if value not in ("", 0.0)}
    return f"{base}/?{urlencode(kept)}"


def _busiest(view: View) -> list[str]:
    counts: dict[int, int] = {}
    for user in view.log.user.tolist():
        counts[user] = counts.get(user, 0) + 1
    return sorted(view.log.users[user] for user in sorted(counts, key=lambda each: -counts[each])[:_USERS])


def _history(view: View, user: str) -> list[tuple[Document, datetime]]:
    """Return the user's latest eight items with their times, newest first."""
    number = view.users.get(user, -1)
    rows = [row for row in range(len(view.log)) if view.log.user[row] == number] if number >= 0 else []
    utc = view.log.at
    return [
        (view.catalogue.items[int(view.log.item[row])], datetime.fromtimestamp(float(utc[row]), UTC))
        for row in reversed(rows[-8:])
    ]


def _shelf(items: Sequence[Document], q: str, clicked: Sequence[str]) -> list[Document]:
    """Return items to click: those that contain the words, else some of every part of the catalogue."""
    words = q.casefold().split()
    left = [item for item in items if item.id not in clicked]
    if words:
        return [item for item in left if all(word in f"{item.title} {item.text}".casefold() for word in words)][:_SHELF]
    step = max(1, len(left) // _SHELF)
    return left[::step][:_SHELF]
