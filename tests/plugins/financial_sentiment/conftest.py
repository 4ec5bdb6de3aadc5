from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import small_news

from mercat.workspace import Workspace


@pytest.fixture(scope="session")
def prepared_monitor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("monitor")
    small_news.prepare(folder)
    return folder


@pytest.fixture
def open_monitor(prepared_monitor: Path, tmp_path: Path) -> Iterator[Callable[..., Workspace]]:
    """Return a function that opens a monitor of its own, without any news."""
    opened: list[Workspace] = []

    def start(**options: Any) -> Workspace:
        folder = tmp_path / f"monitor{len(opened)}"
        shutil.copytree(prepared_monitor, folder, ignore=shutil.ignore_patterns("mercat.db*"))
        opened.append(small_news.open_monitor(folder, **options))
        return opened[-1]

    yield start
    for workspace in opened:
        workspace.close()


@pytest.fixture
def workspace(open_monitor: Callable[..., Workspace]) -> Workspace:
    return open_monitor()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either(request: pytest.FixtureRequest, open_monitor: Callable[..., Workspace]) -> Workspace:
    """A monitor on SQLite, and one on PostgreSQL."""
    url = request.getfixturevalue("server").empty() if request.param == "postgres" else ""
    return open_monitor(store_url=url)
