"""The connection to SQLite or PostgreSQL: reading side by side, writing one at a time, durable when acknowledged."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from mercat.errors import StoreError, missing_extra
from mercat.store.faults import told_as_store_error
from mercat.store.tables import table

WAIT_S = 60.0
"""How long a writer waits for the one before it."""


class Database:
    """An engine that connects on first use. `where` names it without its password."""

    def __init__(self, url: str | URL, *, wait_s: float = WAIT_S) -> None:
        self.url = _known(url)
        self.where = self.url.render_as_string(hide_password=True)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._wait_s = wait_s
        self._writer, self._writing_thread = threading.Lock(), 0
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    @property
    def file(self) -> Path:
        """The file of an SQLite database."""
        return Path(self.url.database or "")

    @property
    def engine(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = self._sqlite_engine() if self.is_sqlite else self._postgres_engine()
            return self._engine

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a connection that sees one consistent state."""
        with told_as_store_error("The store cannot be read", self.where), self.engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self, *, migrates: bool = False) -> Iterator[Connection]:
        """Open the one writing transaction; it is committed, durably, when the block ends without an exception.

        Waits for other writers: threads at a lock, processes at the database. Raises StoreError after `wait_s`.
        """
        with self._turn(), told_as_store_error("Nothing was written to the store", self.where):
            options = {"mercat_writes": True, "mercat_migrates": migrates}
            with self.engine.connect().execution_options(**options) as connection, connection.begin():
                if not self.is_sqlite and not migrates:
                    counters = table("counters")
                    connection.execute(select(counters.c.value).where(counters.c.name == "sequence").with_for_update())
                yield connection

    def checkpoint(self) -> None:
        """Empty the write-ahead log of an SQLite database into its file, as far as readers allow."""
        if not self.is_sqlite:
            return
        connection = self.engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()

    def close(self) -> None:
        """Close all connections. The database opens again when it is used again."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        if self._writing_thread == threading.get_ident():
            raise StoreError(
                "A transaction was opened inside a transaction",
                "The outer one has not ended, and there is one writer at a time",
                "use the `tx` of the outer transaction",
            )
        if not self._writer.acquire(timeout=self._wait_s):
            raise StoreError("Nothing was written to the store", "Another writer holds it", "run it again in a moment")
        self._writing_thread = threading.get_ident()
        try:
            yield
        finally:
            self._writing_thread = 0
            self._writer.release()

    def _sqlite_engine(self) -> Engine:
        with told_as_store_error("The store cannot be opened", self.where):
            self.file.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            self.url, pool_size=16, max_overflow=48, connect_args={"timeout": self._wait_s, "isolation_level": None}
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _postgres_engine(self) -> Engine:
        try:
            engine = create_engine(self.url, pool_pre_ping=True, pool_size=8, max_overflow=24)
        except ModuleNotFoundError as error:
            raise missing_extra("A store on PostgreSQL", "psycopg", "postgres") from error
        settings = (
            "SET synchronous_commit = on",
            "SET timezone = 'UTC'",
            f"SET lock_timeout = '{int(self._wait_s * 1000)}ms'",
        )

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _: Any) -> None:
            connection.autocommit = True
            for setting in settings:
                connection.execute(setting)
            connection.autocommit = False

        return engine


def _known(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise _unknown(str(url)) from error
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise _unknown(parsed.render_as_string(hide_password=True))
    if not parsed.database or parsed.database == ":memory:":
        raise StoreError("A store cannot live in memory", "It must outlive the process", "sqlite:////folder/mercat.db")
    return parsed


def _unknown(url: str) -> StoreError:
    return StoreError(
        f"The store's url '{url}' is of no known database",
        "Known: SQLite and PostgreSQL",
        "sqlite:////folder/mercat.db or postgresql://user@host/database",
    )


def _prepare_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    """Make a commit durable (FULL), readers free of writers (WAL), and deleted text really gone (secure_delete)."""
    _use_wal(connection)
    for pragma in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON", "cache_size = -32000"):
        connection.execute(f"PRAGMA {pragma}")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL. Several processes that do so at once may be refused without waiting, so wait here."""
    until = time.monotonic() + WAIT_S
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("mercat_migrates"):  # a table that is rebuilt must not take the rows that point to it along
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("mercat_writes") else "BEGIN")
