"""A whole small vertical for the tests of the server: one service, one router with pages, both languages."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from mercat.config import Config
from mercat.hooks import hookimpl
from mercat.services import Service
from mercat.values import Answer, Hit, Request


@dataclass(frozen=True, slots=True)
class Line(Request):
    """One line of a talk."""

    text: str
    conversation: str = ""
    tone: Literal["plain", "warm"] = "plain"
    tags: Sequence[str] = field(default=(), kw_only=True)


class Echo(Service[Line, Answer]):
    """Says back what it is told; keeps count of how it was asked."""

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self.delay_s, self.batches, self.warm = delay_s, [], False
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()

    def warm_up(self) -> None:
        self.warm = True

    def answer_many(self, requests: Sequence[Line]) -> list[Answer]:
        self.entered.set()
        assert self.gate.wait(20)
        self.batches.append(len(requests))
        time.sleep(self.delay_s)
        if any("poison" in request.text for request in requests):
            raise ValueError(" ".join(request.text for request in requests))
        return [_answer(request) for request in requests]


def _answer(request: Line) -> Answer:
    value = {"said": request.text, "id": request.id, "tags": request.tags, "tone": request.tone}
    return Answer(value, 0.9, evidence=[Hit("h1", float("nan"), text=request.text)])


@hookimpl
def mercat_register(registry: Any) -> None:
    registry.services.add("serve-demo", Echo, summary="Says back what it is told")
    registry.routers.add("serve-demo", "serve_demo.web:desk")
    registry.routers.add("serve-demo/open", "serve_demo.web:without_scope")


DATA: dict[str, Any] = {
    "services": {"echo": {"use": "serve-demo"}},
    "routers": {"desk": {"use": "serve-demo", "service": "echo"}},
    "sources": {"tickets": {"use": "files/csv", "path": "tickets.csv", "collection": "tickets", "every_s": 300}},
}


def open_workspace(folder: Path, data: dict[str, Any] = DATA, **serve: Any) -> Any:
    """Open a workspace in which this plugin is installed."""
    from importlib.metadata import EntryPoint

    from mercat.workspace import Workspace

    point = EntryPoint("serve-demo", "serve_demo", "mercat")
    with mock.patch("mercat.plugins.discover", lambda: {"serve-demo": point}):
        return Workspace(Config({**data, "mercat": {"serve": serve}}, folder=folder))
