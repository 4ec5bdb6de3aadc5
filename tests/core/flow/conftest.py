"""Every test of flow that touches the store runs on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mercat.store import Store
from mercat.testing.store import NewDatabase, postgres_databases


@pytest.fixture(scope="session")
def new_postgres() -> Iterator[NewDatabase]:
    with postgres_databases() as new:
        yield new


BOTH = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session")
def ready_postgres(new_postgres: NewDatabase) -> str:
    """A database with the tables, to copy: quicker than making them for every test."""
    url = new_postgres()
    with Store.open(url) as made:
        made.upgrade()
    return url


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
    return request.getfixturevalue("new_postgres")()


@pytest.fixture(params=BOTH)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with the core's tables."""
    if request.param == "sqlite":
        copied = shutil.copy(request.getfixturevalue("ready_sqlite"), tmp_path / "mercat.db")
        return f"sqlite:///{copied}"
    return request.getfixturevalue("new_postgres")(request.getfixturevalue("ready_postgres"))


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as opened:
        yield opened
