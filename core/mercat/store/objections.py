"""Answers that were withheld, with who objected and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from mercat.store.clock import Clock
from mercat.store.tables import table
from mercat.store.types import to_json
from mercat.values import Answer, Objection, Request

Opening = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True, slots=True)
class StoredObjection:
    """One objection to one answer. `request` and `answer` are their JSON."""

    id: int
    at: datetime
    service: str
    plugin: str
    reason: str
    request_id: str
    request: Mapping[str, Any]
    answer: Mapping[str, Any]


class Objections:
    """The withheld answers of a store."""

    def __init__(self, reading: Opening, writing: Opening, clock: Clock) -> None:
        self._reading, self._writing, self._clock = reading, writing, clock

    def add(self, service: str, request: Request, answer: Answer, objections: Sequence[Objection]) -> None:
        """Keep the objections to an answer. `request.context["subject"]` names the person, for erasure."""
        if not objections:
            return
        shared = {
            "at": self._clock(),
            "service": service,
            "request_id": request.id,
            "subject": str(request.context.get("subject", "")),
            "request": plain(request),
            "answer": plain(answer),
        }
        rows = [{**shared, "plugin": each.plugin, "reason": each.reason} for each in objections]
        with self._writing() as connection:
            connection.execute(insert(table("objections")), rows)

    def recent(self, *, after: int = 0, limit: int = 100) -> list[StoredObjection]:
        """Return objections above an id, oldest first."""
        of = table("objections")
        columns = [of.c[field.name] for field in dataclasses.fields(StoredObjection)]
        asked = select(*columns).where(of.c.id > after).order_by(of.c.id).limit(limit)
        with self._reading() as connection:
            return [StoredObjection(*row) for row in connection.execute(asked)]


def plain(value: Any) -> Any:
    """Return what JSON can say of a value; of what it cannot, its words."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    try:
        to_json(value)
    except Exception:
        return str(value)
    return value
