"""A plugin that objects to every ranking with tea in it, and keeps the events that it is told."""

from __future__ import annotations

from typing import Any

from mercat.hooks import hookimpl
from mercat.values import Event, Objection

told: list[Event] = []


@hookimpl
def mercat_review(request: Any, answer: Any) -> list[Objection]:
    return [Objection("it lists tea")] if any(item.startswith("tea") for item in answer.value) else []


@hookimpl
def mercat_observe(event: Event) -> None:
    told.append(event)
