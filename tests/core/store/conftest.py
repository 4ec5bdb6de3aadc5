"""Every store test runs on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mercat.store import Store
from mercat.testing.store import PostgresForTests, postgres


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresForTests]:
    with postgres() as running:
        yield running


BOTH = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


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
