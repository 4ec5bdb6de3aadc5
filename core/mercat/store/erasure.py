"""Forgetting a person: in the core's tables, in every plugin's, installed or not, and in the outbox."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from hashlib import sha256

from sqlalchemy import Connection, MetaData, and_, delete, exists, select

from mercat.errors import DataError
from mercat.store.mapping import KINDS, Kind
from mercat.store.tables import metadata, table
from mercat.store.transaction import Transaction


def hash_of(subject: str) -> str:
    """Return the SHA-256 by which an erased person is recognised."""
    return sha256(subject.encode()).hexdigest()


def erase(tx: Transaction, subject: str, *, clock: Callable[[], datetime]) -> dict[str, int]:
    """Remove a person everywhere and return how many rows of which table it was.

    Rows that came in stay as empty tombstones, so that indexes drop them too; passages go with their document. Raises
    DataError for an empty subject.
    """
    if not subject:
        raise DataError("Nobody can be erased", "The subject is empty", "mercat erase CUSTOMER-ID")
    counts = {"passages": _passages_of_documents(tx, subject)}
    for kind in KINDS.values():
        counts[kind.name] = counts.get(kind.name, 0) + _bury(tx, kind, subject)
    counts |= _other_tables(tx.connection, subject)
    counts = {name: count for name, count in counts.items() if count}
    _remember(tx, subject, counts, clock())
    return counts


def was_erased(connection: Connection, subject: str) -> bool:
    """Return whether this person was erased once."""
    of = table("erasures")
    return bool(subject) and bool(
        connection.execute(select(exists().where(of.c.subject_sha256 == hash_of(subject)))).scalar()
    )


def _bury(tx: Transaction, kind: Kind, subject: str) -> int:
    of = kind.table
    asked = select(of.c.collection, of.c.id).where(of.c[kind.person] == subject, of.c[kind.person] != "")
    keys = [(row[0], row[1]) for row in tx.connection.execute(asked)]
    tx.bury(kind, keys)
    return len(keys)


def _passages_of_documents(tx: Transaction, subject: str) -> int:
    passages, documents = table("passages"), table("documents")
    same = and_(documents.c.collection == passages.c.collection, documents.c.id == passages.c.document_id)
    asked = (
        select(passages.c.collection, passages.c.id)
        .join(documents, same)
        .where(documents.c.subject == subject, passages.c.deleted.is_(False))
    )
    keys = [(row[0], row[1]) for row in tx.connection.execute(asked)]
    tx.bury(KINDS["passages"], keys)
    return len(keys)


def _other_tables(connection: Connection, subject: str) -> dict[str, int]:
    """Delete from whatever else the database holds that has a column `subject`, children before parents."""
    found = MetaData()
    found.reflect(connection)
    counts = {}
    for each in reversed(found.sorted_tables):
        if "subject" in each.c and each.name not in KINDS:
            counts[each.name] = connection.execute(delete(each).where(each.c.subject == subject)).rowcount
    return counts


def _remember(tx: Transaction, subject: str, counts: dict[str, int], now: datetime) -> None:
    of = metadata.tables["erasures"]
    tx.connection.execute(delete(of).where(of.c.subject_sha256 == hash_of(subject)))
    tx.connection.execute(of.insert().values(subject_sha256=hash_of(subject), at=now, counts=counts))
