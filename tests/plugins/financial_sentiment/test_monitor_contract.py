"""The monitor keeps what every task keeps."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import small_news

from mercat.flow.tasks import Task
from mercat.store import Store
from mercat.testing import TaskContract
from mercat.values import Row
from mercat.workspace import Workspace


class TestMonitorKeepsTheContract(TaskContract):
    opened: dict[str, Workspace]

    @pytest.fixture(autouse=True)
    def _workspaces(self, prepared_monitor: Path) -> Iterator[None]:
        self.prepared, self.opened = prepared_monitor, {}
        yield
        for workspace in self.opened.values():
            workspace.close()

    def new_store(self, folder: Path) -> Store:
        copied = Path(shutil.copytree(self.prepared, folder / "monitor", ignore=shutil.ignore_patterns("mercat.db*")))
        workspace = small_news.open_monitor(copied)
        self.opened[workspace.store.url] = workspace
        return workspace.store

    def make_task(self, store: Store) -> Task:
        task: Task = self.opened[store.url].get("tasks", "news")
        return task

    def make_rows(self) -> Sequence[Row]:
        return [*small_news.calm(), *small_news.burst("negative", 20)]

    def effects(self, store: Store) -> Any:
        service = self.opened[store.url].get("services", "signals")
        mentions = service.mentions("acme", small_news.START, small_news.NOW)
        alerts = [(alert.topic, alert.fired_at, alert.stories, alert.negative) for alert in service.alerts()]
        sent = sorted(row.key for row in store.outbox())
        return [(each.article, each.label, each.copy_of, each.event_at) for each in mentions], alerts, sent
