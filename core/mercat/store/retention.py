"""Letting rows expire: what is older than it may be kept goes, by the time of the event, not of its storing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, select, update

from mercat.errors import unknown_name
from mercat.store.mapping import KINDS, Kind
from mercat.store.outbox import DELIVERED
from mercat.store.tables import table
from mercat.store.transaction import Transaction

PAGE = 10_000
_EVENT_TIME = {"documents": "published_at", "examples": "at", "interactions": "at"}
_OWN = {"objections": "at"}  # tables of the core that are not collections; the outbox keeps its keys


def expirable(plugin_tables: Sequence[Table]) -> dict[str, Table]:
    """Return the tables that expire by name: a plugin's say so by `__table_args__ = {"info": {"expires_by": "at"}}`."""
    own = {name: table(name) for name in ("outbox", *_OWN)}
    return own | {each.name: each for each in plugin_tables if "expires_by" in each.info}


def expire(
    tx: Transaction, names: Sequence[str], *, before: datetime, tables: Mapping[str, Table], collections: set[str]
) -> dict[str, int]:
    """Remove what is older than `before` from the named collections and tables; return how many rows of which.

    Rows of a collection stay as empty tombstones, so that indexes drop them too; passages go with their document. A
    message that left long ago loses its content and keeps its key, so that it is never sent again.
    """
    if unknown := [name for name in names if name not in tables and name not in collections]:
        raise unknown_name("collection or table that expires", unknown[0], {*tables, *collections}, next="one of these")
    counts: dict[str, int] = {}
    for name in names:
        if name in collections:
            counts |= {f"{kind.name} of {name}": _bury(tx, kind, name, before) for kind in KINDS.values()}
        if name == "outbox":
            counts[name] = _emptied(tx.connection, before)
        elif name in tables:
            of = tables[name]
            column = of.c[of.info.get("expires_by") or _OWN[name]]
            counts[name] = tx.connection.execute(delete(of).where(column < before)).rowcount
    return {name: count for name, count in counts.items() if count}


def _bury(tx: Transaction, kind: Kind, collection: str, before: datetime) -> int:
    of = kind.table
    if kind.name == "passages":
        return 0  # they go with their documents
    condition = and_(of.c.collection == collection, of.c.deleted.is_(False), _older(kind, before))
    count = 0
    while ids := [row[0] for row in tx.connection.execute(select(of.c.id).where(condition).limit(PAGE))]:
        tx.bury(kind, [(collection, each) for each in ids])
        if kind.name == "documents":
            _bury_passages(tx, collection, ids)
        count += len(ids)
    return count


def _bury_passages(tx: Transaction, collection: str, documents: Sequence[str]) -> None:
    of = table("passages")
    for start in range(0, len(documents), 500):
        named = of.c.document_id.in_(documents[start : start + 500])
        asked = select(of.c.id).where(of.c.collection == collection, of.c.deleted.is_(False), named)
        tx.bury(KINDS["passages"], [(collection, row[0]) for row in tx.connection.execute(asked)])


def _older(kind: Kind, before: datetime) -> ColumnElement[bool]:
    of = kind.table
    return func.coalesce(of.c[_EVENT_TIME[kind.name]], of.c.stored_at) < before


def _emptied(connection: Connection, before: datetime) -> int:
    of = table("outbox")
    gone = and_(of.c.state == DELIVERED, of.c.finished_at < before, of.c.payload != {})
    values = {"payload": {}, "receipt": {}, "subject": "", "error": ""}
    return connection.execute(update(of).where(gone).values(**values)).rowcount
