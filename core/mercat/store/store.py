"""The store: rows that came in, where everybody stands, what is to be sent, who may ask."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from mercat.errors import StoreError
from mercat.registry import TableSet
from mercat.store import backup, erasure, retention
from mercat.store.accounts import Accounts
from mercat.store.clock import Clock, utc_now
from mercat.store.database import Database
from mercat.store.objections import Objections
from mercat.store.queue import Queue
from mercat.store.reader import Reader
from mercat.store.transaction import Transaction, Upserted
from mercat.values import Answer, Objection, Request, Row


class Store(Reader, Queue):
    """Rows, cursors and outbox in one database. May be used from many threads.

    Reads see what was committed. There is one writer at a time; the others wait. What a call has returned for is on the
    disk. A new database is set up on first use; one that is behind the code raises StoreError.
    """

    def __init__(
        self, database: Database, *, tables: Sequence[TableSet] = (), clock: Clock = utc_now, migrate: bool = False
    ) -> None:
        self._database, self._tables, self._clock, self._migrate = database, tables, clock, migrate
        self._ready, self._lock = False, threading.Lock()

    @classmethod
    def open(
        cls,
        url: str | URL,
        *,
        clock: Clock = utc_now,
        tables: Sequence[TableSet] = (),
        migrate: bool = False,
        wait_s: float = 60.0,
    ) -> Store:
        """Name a store: "sqlite:////folder/mercat.db" or "postgresql://user@host/database". Nothing is touched yet.

        `tables` are the plugins'; with `migrate` a store that is behind is upgraded on first use; `wait_s` is how long
        a writer waits for the one before it.
        """
        return cls(Database(url, wait_s=wait_s), tables=tables, clock=clock, migrate=migrate)

    def __repr__(self) -> str:
        return f"Store({self._database.where!r})"

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The url, with the password masked."""
        return self._database.where

    @property
    def accounts(self) -> Accounts:
        """API keys and people."""
        return Accounts(self._reading, self._writing, self._clock)

    @property
    def objections(self) -> Objections:
        """Answers that were withheld."""
        return Objections(self._reading, self._writing, self._clock)

    def close(self) -> None:
        """Close the connections. May be called twice."""
        self._database.close()

    # --- the schema -----------------------------------------------------------------------------------------------

    def upgrade(self) -> None:
        """Bring the tables of the core and of all plugins to what the code needs; all of it or nothing."""
        from mercat.store import schema

        schema.upgrade(self._database, self._tables)
        self._ready = True

    def is_current(self) -> bool:
        """Return whether the tables are what the code needs."""
        return not self.behind()

    def is_new(self) -> bool:
        """Return whether there are no tables yet: they are made on first use. Touches nothing."""
        from mercat.store import schema

        if self._database.is_sqlite and not self._database.file.exists():
            return True
        with self._database.reading() as connection:
            return schema.is_new(connection)

    def behind(self) -> list[str]:
        """Return the names of the branches ("mercat" or a plugin) that are not what the code needs."""
        from mercat.store import schema

        if self._database.is_sqlite and not self._database.file.exists():
            return ["mercat", *(tables.name for tables in self._tables)]
        with self._database.reading() as connection:
            return schema.behind(connection, self._tables)

    def drift(self) -> list[str]:
        """Return in words where migrations and table classes differ. For the tests of who writes tables."""
        from mercat.store import schema

        with self._reading() as connection:
            return [words for tables in (schema.CORE, *self._tables) for words in schema.drift(connection, tables)]

    def drop(self, plugin: str) -> list[str]:
        """Drop the tables of a plugin, installed or not. Return their names."""
        from mercat.store import schema

        return schema.drop(self._database, plugin, self._tables)

    # --- writing --------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open the one writing transaction: committed at the end of the block, undone by an exception."""
        with self._writing() as connection:
            tx = Transaction(connection, self._clock)
            try:
                yield tx
                tx.flush()
            finally:
                tx.close()

    def upsert(
        self, rows: Sequence[Row], *, collection: str, source: str = "", cursor: tuple[str, str] | None = None
    ) -> Upserted:
        """Add or replace rows, and save a cursor (name, value), in one transaction."""
        with self.transaction() as tx:
            upserted = tx.upsert(rows, collection=collection, source=source)
            if cursor is not None:
                tx.save_cursor(*cursor)
        return upserted

    def object(self, service: str, request: Request, answer: Answer, objections: Sequence[Objection]) -> None:
        """Keep an answer that was withheld, with the objections to it."""
        self.objections.add(service, request, answer, objections)

    # --- forgetting -----------------------------------------------------------------------------------------------

    def erase(self, subject: str) -> dict[str, int]:
        """Remove a person from every table. Return the rows by table. A hash stays, see `was_erased`.

        The text is overwritten in an SQLite file, write-ahead log included; a backup made before still holds it.
        """
        with self.transaction() as tx:
            counts = erasure.erase(tx, subject, clock=self._clock)
        self._database.checkpoint()
        return counts

    def was_erased(self, subject: str) -> bool:
        """Return whether this person was erased once, so that an import may leave them out."""
        with self._reading() as connection:
            return erasure.was_erased(connection, subject)

    def expire(self, names: Sequence[str], *, before: datetime) -> dict[str, int]:
        """Remove what is older than `before` from collections and tables; return how many rows of which.

        The time is that of the event, where the row has one, otherwise when it was stored. In one transaction.
        Raises UnknownName for what does not expire.
        """
        from mercat.store import schema

        plugins = [each for tables in self._tables for each in schema.metadata_of(tables).sorted_tables]
        collections = {collection for _, collection, _ in self.collections()}
        with self.transaction() as tx:
            return retention.expire(
                tx, names, before=before, tables=retention.expirable(plugins), collections=collections
            )

    # --- backup ---------------------------------------------------------------------------------------------------

    def backup(self, folder: str | Path) -> Path:
        """Write a consistent copy into a new folder while others read and write. Return the folder."""
        self._check()
        return backup.write(self._database, Path(folder), self._tables, now=self._clock())

    @classmethod
    def restore(cls, folder: str | Path, url: str, *, tables: Sequence[TableSet] = ()) -> None:
        """Put a backup into a database that does not exist yet, or is empty. Raises StoreError when it is damaged."""
        database = Database(url)
        try:
            backup.restore(Path(folder), database, tables)
        finally:
            database.close()

    # --- inside ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        self._check()
        with self._database.reading() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        self._check()
        with self._database.writing() as connection:
            yield connection

    def _check(self) -> None:
        """Set up a new database; refuse one that is behind the code."""
        if self._ready:
            return
        with self._lock:
            if self._is_ready():
                return
            new = self.is_new()  # asked first: another process may make the tables between two questions
            behind = self.behind()
            if behind and (self._migrate or new):
                self.upgrade()
            elif behind:
                raise StoreError(
                    f"The store {self.url} cannot be used",
                    f"Its tables are not those of the installed code: {', '.join(behind)}",
                    "mercat db upgrade",
                )
            self._ready = True

    def _is_ready(self) -> bool:
        return self._ready  # again, behind the lock: another thread may have been first
