"""What can be written together: rows, cursors, messages to send and a plugin's own tables, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from itertools import islice
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection, Insert, Table, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session

from mercat.errors import DataError
from mercat.store import outbox
from mercat.store.mapping import Encoded, Kind, encode, kind_named, kind_of
from mercat.store.tables import table
from mercat.values import Row

T = TypeVar("T")
CHUNK = 2000


@dataclass(frozen=True, slots=True)
class Upserted:
    """What an upsert did: ids that are new or differ, how many rows were the same, and the last sequence number.

    `repeated` counts earlier rows of the same call that a later one with the same id replaced.
    """

    changed: list[str]
    unchanged: int
    sequence: int
    repeated: int = 0


class Transaction:
    """The one open writing transaction. Nothing of it is visible, or durable, before its block ends."""

    def __init__(self, connection: Connection, now: Callable[[], datetime]) -> None:
        self.connection, self._now = connection, now

    @cached_property
    def session(self) -> Session:
        """A session for a plugin's own tables. It is flushed and committed with the transaction."""
        return Session(bind=self.connection)

    def upsert(self, rows: Sequence[Row], *, collection: str, source: str = "") -> Upserted:
        """Add or replace rows of one value type. An unchanged row costs a look and is not a change.

        Raises DataError for rows of several types.
        """
        if not rows:
            return Upserted([], 0, self.sequence())
        kind = kind_of(rows[0])
        if any(type(row) is not kind.value_type for row in rows):
            raise DataError("Rows cannot be stored", "They are of several types", "one upsert for each type")
        encoded = {row.id: encode(kind, row, collection=collection, source=source) for row in rows}
        changed = [columns for chunk in chunks(encoded.values()) for columns in self._changed(kind, collection, chunk)]
        self._number(changed)
        self._put(kind.table, changed)
        return Upserted(
            [columns["id"] for columns in changed],
            len(encoded) - len(changed),
            changed[-1]["sequence"] if changed else self.sequence(),
            len(rows) - len(encoded),
        )

    def delete(self, kind: str, ids: Iterable[str], *, collection: str) -> list[str]:
        """Empty rows and keep them as tombstones, so that followers learn of it. Return the ids that were there."""
        known = kind_named(kind)
        of = known.table
        there: list[str] = []
        for chunk in chunks(dict.fromkeys(ids)):
            asked = select(of.c.id).where(of.c.collection == collection, of.c.id.in_(chunk), of.c.deleted.is_(False))
            there += self.connection.execute(asked).scalars()
        self.bury(known, [(collection, each) for each in there])
        return there

    def bury(self, kind: Kind, keys: Sequence[tuple[str, str]]) -> None:
        """Turn rows, named by (collection, id), into tombstones."""
        if not keys:
            return
        of, blank = kind.table, kind.emptied()
        buried: list[Encoded] = [{"at_collection": collection, "at_id": each, **blank} for collection, each in keys]
        self._number(buried)
        emptied = update(of).where(of.c.collection == bindparam("at_collection"), of.c.id == bindparam("at_id"))
        self.connection.execute(emptied, buried)

    def cursor(self, name: str) -> str | None:
        """Return where a source or task stands; None before the first time."""
        of = table("cursors")
        return self.connection.execute(select(of.c.value).where(of.c.name == name)).scalar_one_or_none()

    def save_cursor(self, name: str, value: str) -> None:
        """Remember where a source or task stands, together with what it wrote."""
        self._put(table("cursors"), [{"name": name, "value": value, "updated_at": self._now()}])

    def send(
        self, sink: str, kind: str, payload: Mapping[str, Any], *, key: str, order: str = "", subject: str = ""
    ) -> int:
        """Put a message into the outbox; `flow` delivers it after the commit. Return its id.

        `key` makes it once: a key that this sink has had returns the old id and sends nothing. Messages of one `order`
        go out one after the other. `subject` is the person it is about, for erasure: `payload["subject"]` by default.
        """
        return outbox.send(
            self.connection,
            sink=sink,
            kind=kind,
            payload=payload,
            key=key,
            order=order,
            subject=subject or str(payload.get("subject", "")),
            now=self._now(),
        )

    def erased_among(self, subjects: Iterable[str]) -> set[str]:
        """Return those of these people who were erased once."""
        asked = {sha256(subject.encode(errors="replace")).hexdigest(): subject for subject in subjects if subject}
        of = table("erasures")
        found: set[str] = set()
        for chunk in chunks(asked):
            rows = self.connection.execute(select(of.c.subject_sha256).where(of.c.subject_sha256.in_(chunk)))
            found.update(asked[each] for each in rows.scalars())
        return found

    def sequence(self) -> int:
        """Return the number of the last change in the store."""
        of = table("counters")
        return int(self.connection.execute(select(of.c.value).where(of.c.name == "sequence")).scalar_one())

    def flush(self) -> None:
        """Write what the session still holds."""
        if "session" in self.__dict__:
            self.session.flush()

    def close(self) -> None:
        """End the session; the transaction itself ends with its block."""
        if "session" in self.__dict__:
            self.session.close()

    def _changed(self, kind: Kind, collection: str, chunk: Sequence[Encoded]) -> Iterator[Encoded]:
        of = kind.table
        ids = [columns["id"] for columns in chunk]
        stored = select(of.c.id, of.c.digest).where(of.c.collection == collection, of.c.id.in_(ids))
        digests = {row[0]: row[1] for row in self.connection.execute(stored)}
        return (columns for columns in chunk if digests.get(columns["id"]) != columns["digest"])

    def _number(self, rows: Sequence[Encoded]) -> None:
        """Give every changed row its own number; the counter moves with them."""
        if not rows:
            return
        of, now = table("counters"), self._now()
        last = self.sequence() + len(rows)
        self.connection.execute(update(of).where(of.c.name == "sequence").values(value=last))
        for number, columns in enumerate(rows, last - len(rows) + 1):
            columns["sequence"], columns["stored_at"] = number, now

    def _put(self, of: Table, rows: Sequence[Encoded]) -> None:
        if not rows:
            return
        keys = [column.name for column in of.primary_key]
        insert = postgresql.insert(of) if self.connection.dialect.name == "postgresql" else sqlite.insert(of)
        replaced = {name: insert.excluded[name] for name in rows[0] if name not in keys}
        statement = insert.on_conflict_do_update(index_elements=keys, set_=replaced)
        for chunk in chunks(rows):
            if self.connection.dialect.positional:
                self._put_positional(of, statement, chunk)
            else:
                self.connection.execute(statement, chunk)

    def _put_positional(self, of: Table, statement: Insert, rows: Sequence[Encoded]) -> None:
        """Execute with plain tuples, past SQLAlchemy's work on every single parameter: half the time on SQLite."""
        dialect = self.connection.dialect
        compiled = statement.compile(dialect=dialect, column_keys=list(rows[0]))
        names = compiled.positiontup or []
        processors = {name: of.c[name].type.bind_processor(dialect) for name in names}
        changed = [(name, process) for name, process in processors.items() if process is not None]
        for name, process in changed:
            for row in rows:
                row[name] = process(row[name])
        self.connection.exec_driver_sql(compiled.string, [*map(itemgetter(*names), rows)])


def chunks(values: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """Cut into lists of at most `size`."""
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk
