"""Plugins that are really installed for one test, and stores on SQLite and on PostgreSQL."""

from __future__ import annotations

import importlib
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mercat.store import Store

Install = Callable[..., Path]
BOTH = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture
def install(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return `install(name, source, **more)`: distribution mercat-NAME 1.0 with an entry point in the group mercat.

    `distribution` is another name for it than mercat-NAME; `also` further lines of its entry points.

    It returns the folder that is on the path, for the PYTHONPATH of a process of its own.
    """
    folder = tmp_path_factory.mktemp("site")
    monkeypatch.syspath_prepend(folder)
    modules: list[str] = []

    def make(name: str, source: str, *, version: str = "1.0", also: str = "", distribution: str = "") -> Path:
        distribution = distribution or f"mercat-{name}"
        module = f"installed_{distribution.removeprefix('mercat-').replace('-', '_')}"
        (folder / f"{module}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        metadata = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        about = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\nSummary: {name} for a test\n"
        (metadata / "METADATA").write_text(about)
        (metadata / "entry_points.txt").write_text(f"[mercat]\n{name} = {module}\n{textwrap.dedent(also)}")
        modules.append(module)
        importlib.invalidate_caches()
        return folder

    yield make
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture(scope="session")
def ready_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ready")
    with Store.open(f"sqlite:///{folder / 'made.db'}") as made:
        made.upgrade()
        return made.backup(folder / "copy") / "mercat.db"


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'mercat.db'}"
    return request.getfixturevalue("server").empty()


@pytest.fixture(params=BOTH)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with the core's tables."""
    if request.param == "sqlite":
        copied = shutil.copy(request.getfixturevalue("ready_sqlite"), tmp_path / "mercat.db")
        return f"sqlite:///{copied}"
    return request.getfixturevalue("server").ready()


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as opened:
        yield opened
