"""The outbox: what was decided is sent at least once, in order where asked, and never forgotten in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, and_, exists, insert, or_, select, update

from mercat.store.tables import table

WAITING, DELIVERED, DEAD = "waiting", "delivered", "dead"


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message in the outbox. `attempt` counts leases, this one included; it proves that the lease is still ours."""

    id: int
    sink: str
    kind: str
    key: str
    order: str
    payload: Mapping[str, Any]
    state: str
    attempt: int
    created_at: datetime
    not_before: datetime
    leased_until: datetime | None
    finished_at: datetime | None
    error: str
    receipt: Mapping[str, Any]


_COLUMNS = (
    "id", "sink", "kind", "key", "order_key", "payload", "state", "attempts",
    "created_at", "not_before", "leased_until", "finished_at", "error", "receipt",
)  # fmt: skip


def send(
    connection: Connection,
    *,
    sink: str,
    kind: str,
    payload: Mapping[str, Any],
    key: str,
    order: str,
    subject: str,
    now: datetime,
) -> int:
    """Add a message, or return the id of the one that had this key. The writer's lock makes looking first safe."""
    of = table("outbox")
    old = connection.execute(select(of.c.id).where(of.c.sink == sink, of.c.key == key)).scalar_one_or_none()
    if old is not None:
        return int(old)
    added = insert(of).values(
        sink=sink, kind=kind, key=key, order_key=order, subject=subject, payload=payload, state=WAITING, attempts=0,
        created_at=now, not_before=now, error="", receipt={},
    )  # fmt: skip
    return int(connection.execute(added.returning(of.c.id)).scalar_one())


def any_due(connection: Connection, sinks: Sequence[str], *, now: datetime) -> bool:
    """Return whether there may be something to lease: a look that keeps nobody waiting."""
    of = table("outbox")
    due = select(of.c.id).where(of.c.state == WAITING, of.c.sink.in_(sinks), of.c.not_before <= now)
    free = due.where(or_(of.c.leased_until.is_(None), of.c.leased_until <= now))
    return connection.execute(free.limit(1)).first() is not None


def lease(
    connection: Connection, sinks: Sequence[str], *, limit: int, lease_s: float, now: datetime
) -> list[OutboxRow]:
    """Take up to `limit` messages that are due and nobody has; of one order only the first that is not finished.

    A message whose lease ran out, because its sender died, is taken alone: one that kills its senders must not use up
    the patience with others.
    """
    of = table("outbox")
    earlier = of.alias()
    blocked = exists().where(
        and_(
            earlier.c.sink == of.c.sink,
            earlier.c.order_key == of.c.order_key,
            earlier.c.state == WAITING,
            earlier.c.id < of.c.id,
        )
    )
    due = (
        select(of.c.id, of.c.leased_until)
        .where(of.c.state == WAITING, of.c.sink.in_(sinks), of.c.not_before <= now)
        .where(or_(of.c.leased_until.is_(None), of.c.leased_until <= now))
        .where(or_(of.c.order_key == "", ~blocked))
        .order_by(of.c.id)
        .limit(limit)
    )
    found = connection.execute(due).all()
    if not found:
        return []
    ids = [row[0] for row in takewhile(lambda row: row[1] is None, found)] or [found[0][0]]
    connection.execute(
        update(of)
        .where(of.c.id.in_(ids))
        .values(leased_until=now + timedelta(seconds=lease_s), attempts=of.c.attempts + 1)
    )
    return _rows(connection, of.c.id.in_(ids))


def delivered(connection: Connection, id: int, receipt: Mapping[str, Any], *, now: datetime) -> bool:
    """Note that a message arrived. True even late: a message that arrived has arrived, whoever holds it now."""
    of = table("outbox")
    done = update(of).where(of.c.id == id, of.c.state != DELIVERED)
    values = {"state": DELIVERED, "receipt": receipt, "finished_at": now, "leased_until": None, "error": ""}
    return connection.execute(done.values(**values)).rowcount == 1


def failed(
    connection: Connection, id: int, error: str, retry_at: datetime | None, *, attempt: int | None, now: datetime
) -> bool:
    """Note that a message did not arrive; None for `retry_at` buries it. Says False when the lease was lost since."""
    of = table("outbox")
    mine = update(of).where(of.c.id == id, of.c.state == WAITING)
    if attempt is not None:
        mine = mine.where(of.c.attempts == attempt)
    values: dict[str, Any] = {"error": error, "leased_until": None}
    values |= {"state": DEAD, "finished_at": now} if retry_at is None else {"not_before": retry_at}
    return connection.execute(mine.values(**values)).rowcount == 1


def revive(connection: Connection, ids: Sequence[int] | None, *, now: datetime) -> int:
    """Put dead messages back, all of them for None. Return how many."""
    of = table("outbox")
    dead = update(of).where(of.c.state == DEAD)
    if ids is not None:
        dead = dead.where(of.c.id.in_(ids))
    return connection.execute(dead.values(state=WAITING, attempts=0, not_before=now, finished_at=None)).rowcount


def listed(connection: Connection, state: str | None, limit: int) -> list[OutboxRow]:
    """Return messages in the order in which they were written."""
    of = table("outbox")
    return _rows(connection, of.c.state == state if state else of.c.id >= 0, limit)


def _rows(connection: Connection, which: Any, limit: int | None = None) -> list[OutboxRow]:
    of = table("outbox")
    asked = select(*(of.c[name] for name in _COLUMNS)).where(which).order_by(of.c.id).limit(limit)
    return [_row(tuple(row)) for row in connection.execute(asked)]


def _row(row: Sequence[Any]) -> OutboxRow:
    return OutboxRow(*row)
