"""The page to try a ranking, and the door for events from a shop's own pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import numpy as np
from fastapi import Query, Request
from pydantic import AwareDatetime, BaseModel, Field
from starlette.concurrency import run_in_threadpool

from mercat.store import Store
from mercat.values import Document, Interaction
from mercat.web import Page, Router, ask, require
from mercat.web.language import language_of
from mercat_recommendation.catalogue import categories_of
from mercat_recommendation.live import View
from mercat_recommendation.notes import left_out
from mercat_recommendation.service import Recommender
from mercat_recommendation.values import RankedItem, Ranking, RankRequest

PACKAGE = "mercat_recommendation"
_USERS, _SHELF, _HISTORY = 12, 16, 8
_MOST_CLICKED = 50  # they are all in the address
_WITHHELD = "withheld: "

Id = Annotated[str, Field(max_length=200)]


class EventIn(BaseModel):
    """One event, as a shop's page sends it. Sending an `id` again replaces that event: it counts once."""

    id: str = Field(min_length=1, max_length=200)
    user_id: str = Field(min_length=1, max_length=200)
    item_id: str = Field(min_length=1, max_length=200)
    kind: str = Field(min_length=1, max_length=40)
    at: AwareDatetime
    weight: float = 1.0
    session: str = Field(default="", max_length=200)


class Asked(BaseModel):
    """What the address of the page says: who is looked at, what they clicked (`item`, oldest first), what is wanted.

    `q` are words that the catalogue beside the ranking is searched for; a `diversity` of None is the service's own.
    """

    user: Id = ""
    item: list[Id] = Field(default=[], max_length=_MOST_CLICKED)
    category: Id = ""
    q: Id = ""
    diversity: float | None = Field(default=None, ge=0, le=1)
    k: int = Field(default=10, ge=1, le=100)

    def request(self, language: str) -> RankRequest:
        """Return the question to the service."""
        filters = {"category": self.category} if self.category else {}
        return RankRequest(
            user_id=self.user.strip(),
            items=self.item,
            k=self.k,
            diversity=self.diversity,
            locale=language,
            filters=filters,
        )

    def fields(self, **changes: Any) -> list[tuple[str, str]]:
        """Return names and values for a form or an address, with changes; what is not asked for is left out."""
        kept = {**self.model_dump(exclude_defaults=True), **changes}
        rows = [(name, value if isinstance(value, list) else [value]) for name, value in kept.items()]
        return [(name, str(each)) for name, values in rows for each in values if each not in ("", None)]

    def with_click(self, item: str) -> list[tuple[str, str]]:
        """Return the fields after a click on an item."""
        return self.fields(item=[*self.without_click(item), item][-_MOST_CLICKED:])

    def without_click(self, item: str) -> list[str]:
        """Return the items clicked, without one."""
        return [each for each in self.item if each != item]


@dataclass(frozen=True, slots=True)
class Place:
    """One place of the ranking with the item at it; `parts` are the largest shares of the score, largest first."""

    found: RankedItem
    item: Document
    parts: Sequence[tuple[str, float]]


def shop(service: Recommender, store: Store, *, events: str) -> Router:
    """Return the router of a recommendation service; `events` is the collection that posted events go to."""
    router = Router(PACKAGE)

    @router.post("/events", dependencies=[require("ask")])
    def take(rows: Annotated[list[EventIn], Field(max_length=1000)]) -> dict[str, int]:
        made = [Interaction(**row.model_dump()) for row in rows]
        return {"stored": len(store.upsert(made, collection=events, source="page").changed)}

    @router.page(Page("recommend.title", "", "recommend.html", nav="recommend.nav", note="recommend.note"))
    async def page(request: Request, asked: Annotated[Asked, Query()]) -> dict[str, Any]:
        language = language_of(request)
        ranking = await ask(request, service.name, asked.request(language))
        return {
            **_answered(ranking, language),
            **await run_in_threadpool(_shown, service, asked, ranking),
            "asked": asked,
            "link": lambda fields: f"{router.base}?{urlencode(fields)}",
            "categories_of": categories_of,
        }

    return router


def _answered(ranking: Ranking, language: str) -> dict[str, Any]:
    """Return what is said of the ranking as a whole; one that was withheld has no value, only the objections to it."""
    withheld = ranking.value is None
    return {
        "withheld": withheld,
        "notes": [each.removeprefix(_WITHHELD) if withheld else each for each in ranking.reasons],
        "confidence": ranking.confidence,
        "left_out": left_out(ranking.removed, locale=language),
    }


def _shown(service: Recommender, asked: Asked, ranking: Ranking) -> dict[str, Any]:
    """Return the places, and what is beside them: what was touched, who may be chosen, items to click."""
    view = service.live.view()
    own = service.diversity if service.diversity is not None else view.model.way.diversity
    return {
        "places": [_place(found, view) for found in ranking.items],
        "clicked": [item for each in reversed(asked.item) if (item := _item(each, view))],
        "history": _history(view, asked.user.strip()),
        "users": _busiest(view),
        "category_names": view.catalogue.category_names,
        "shelf": _shelf(view.catalogue.items, asked.q, asked.item),
        "size": len(view.catalogue),
        "diversity": asked.diversity if asked.diversity is not None else own,
    }


def _place(found: RankedItem, view: View) -> Place:
    """Join a place with its item; one that left the catalogue a moment ago has only its title."""
    item = _item(found.item_id, view) or Document(found.item_id, "", title=found.title)
    parts = sorted(found.parts.items(), key=lambda part: -abs(part[1]))
    return Place(found, item, [(name, value) for name, value in parts if abs(value) >= 0.005])


def _item(item: str, view: View) -> Document | None:
    number = view.catalogue.numbers.get(item)
    return None if number is None else view.catalogue.items[number]


def _busiest(view: View) -> list[str]:
    """Return the users with the most events, by name."""
    counts = np.bincount(view.log.user, minlength=len(view.log.users))
    return sorted(view.log.users[user] for user in np.argsort(-counts, kind="stable")[:_USERS] if counts[user])


def _history(view: View, user: str) -> list[tuple[Document, datetime]]:
    """Return the user's latest items with their times, newest first."""
    rows = np.flatnonzero(view.log.user == view.users.get(user, -1))[-_HISTORY:][::-1]
    return [
        (view.catalogue.items[int(view.log.item[row])], datetime.fromtimestamp(float(view.log.at[row]), UTC))
        for row in rows
    ]


def _shelf(items: Sequence[Document], q: str, clicked: Sequence[str]) -> list[Document]:
    """Return items to click: those that contain the words, else some of every part of the catalogue."""
    words = q.casefold().split()
    left = [item for item in items if item.id not in clicked]
    if words:
        return [item for item in left if all(word in f"{item.title} {item.text}".casefold() for word in words)][:_SHELF]
    step = max(1, len(left) // _SHELF)
    return left[::step][:_SHELF]
