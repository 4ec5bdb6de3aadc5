from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import small_desk

from mercat.workspace import Workspace


@pytest.fixture(scope="session")
def prepared_desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    small_desk.prepare(folder)
    return folder


@pytest.fixture
def open_desk(prepared_desk: Path, tmp_path: Path) -> Iterator[Callable[..., Workspace]]:
    """Return a function that opens a desk of its own, filled with its articles."""
    opened: list[Workspace] = []

    def start(**options: Any) -> Workspace:
        folder = tmp_path / f"desk{len(opened)}"
        shutil.copytree(prepared_desk, folder, ignore=shutil.ignore_patterns("mercat.db*"))
        opened.append(small_desk.open_desk(folder, **options))
        small_desk.fill(opened[-1])
        return opened[-1]

    yield start
    for workspace in opened:
        workspace.close()


@pytest.fixture
def workspace(open_desk: Callable[..., Workspace]) -> Workspace:
    """A desk on SQLite."""
    return open_desk()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either(request: pytest.FixtureRequest, open_desk: Callable[..., Workspace]) -> Workspace:
    """A desk on SQLite, and one on PostgreSQL."""
    url = request.getfixturevalue("server").empty() if request.param == "postgres" else ""
    return open_desk(store_url=url)
