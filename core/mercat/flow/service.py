"""The loop of a running workspace: read sources when they are due, run tasks, refresh indexes, deliver."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from mercat.connect.base import Sink, Source
from mercat.flow.account import Account
from mercat.flow.deliver import Delivered, Patience, deliver
from mercat.flow.ingest import ingest
from mercat.flow.tasks import Task, TaskRun, run_task
from mercat.flow.transforms import Transform
from mercat.store import Store

log = logging.getLogger("mercat.flow")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Feed:
    """A source with the collection it fills and how often it is asked."""

    name: str
    source: Source
    collection: str
    every_s: float = 300.0
    transforms: Sequence[Transform] = ()


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did. `problems` are (what, why): one broken source keeps nobody else from working."""

    accounts: Sequence[Account] = ()
    tasks: Sequence[TaskRun] = ()
    delivered: Delivered = field(default_factory=Delivered)
    problems: Sequence[tuple[str, str]] = ()


class Follow:
    """Follows sources until it is stopped. What it knows is in the store, so it may be killed and started at will.

    `refresh` are called after a round in which rows changed (`Retriever.refresh`); `tell` hears of every round.
    """

    def __init__(
        self,
        store: Store,
        *,
        feeds: Sequence[Feed] = (),
        tasks: Sequence[Task] = (),
        sinks: Mapping[str, Sink] | None = None,
        refresh: Mapping[str, Callable[[], object]] | None = None,
        clock: Callable[[], datetime],
        patience: Patience = Patience(),  # noqa: B008  (frozen)
        tell: Callable[[Round], None] = lambda round_: None,
    ) -> None:
        self.store, self.feeds, self.tasks, self.clock = store, feeds, tasks, clock
        self._sinks, self._refresh, self._patience, self._tell = sinks or {}, refresh or {}, patience, tell
        self._due: dict[str, datetime] = {}

    def run(self, stop: threading.Event, *, pause_s: float = 1.0) -> None:
        """Go round until `stop` is set."""
        while not stop.is_set():
            self._tell(self.round(stop))
            stop.wait(pause_s)

    def round(self, stop: threading.Event | None = None) -> Round:
        """Do what is due now, once. Never raises for one part: its problem is in the result and in the log."""
        problems: list[tuple[str, str]] = []
        accounts, runs = [], []
        for feed in filter(self._is_due, self.feeds):
            if account := _tried(f"source {feed.name}", partial(self._read, feed), problems):
                accounts.append(account)
        for task in self.tasks:
            if run := _tried(f"task {task.name}", partial(run_task, task, self.store), problems):
                runs.append(run)
        if any(account.stored for account in accounts):
            for name, refresh in self._refresh.items():
                _tried(f"refresh {name}", refresh, problems)
        delivered = _tried("delivery", lambda: self._deliver(stop), problems) or Delivered()
        return Round(accounts, runs, delivered, problems)

    def _is_due(self, feed: Feed) -> bool:
        now = self.clock()
        if now < self._due.get(feed.name, now):
            return False
        self._due[feed.name] = now + timedelta(seconds=feed.every_s)
        return True

    def _read(self, feed: Feed) -> Account:
        return ingest(feed.source, self.store, name=feed.name, collection=feed.collection, transforms=feed.transforms)

    def _deliver(self, stop: threading.Event | None) -> Delivered:
        return deliver(self.store, self._sinks, clock=self.clock, patience=self._patience, stop=stop)


def _tried(what: str, act: Callable[[], T], problems: list[tuple[str, str]]) -> T | None:
    try:
        return act()
    except Exception as error:
        log.exception("%s failed", what)
        problems.append((what, str(error) or repr(error)))
        return None
