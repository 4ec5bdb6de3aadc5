"""The side of the store that who reads rows uses: what there is, what changed, where everybody stands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from mercat.store.clock import Clock
from mercat.store.mapping import KINDS, Kind, kind_named
from mercat.store.tables import table
from mercat.store.transaction import Transaction, chunks
from mercat.values import Row

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Change:
    """A row that is new, differs or was deleted (`row` is None), by its number in the order of commits."""

    sequence: int
    id: str
    row: Row | None


class Reader(ABC):
    """Rows, changes, cursors and counts, as they were committed. A part of `Store`."""

    _clock: Clock

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Connection]: ...

    def cursor(self, name: str) -> str | None:
        """Return where a source or task stands; None before the first time."""
        with self._reading() as connection:
            return Transaction(connection, self._clock).cursor(name)

    def cursors(self) -> dict[str, str]:
        """Return where everybody stands."""
        of = table("cursors")
        with self._reading() as connection:
            return {
                row.name: row.value for row in connection.execute(select(of.c.name, of.c.value).order_by(of.c.name))
            }

    def changes(self, kind: str, collection: str, *, after: int, limit: int = PAGE) -> list[Change]:
        """Return the rows whose last change has a number above `after`, in order; deleted ones too."""
        known = kind_named(kind)
        of = known.table
        asked = (
            select(of.c.sequence, of.c.deleted, *_content(known))
            .where(of.c.collection == collection, of.c.sequence > after)
            .order_by(of.c.sequence)
            .limit(limit)
        )
        with self._reading() as connection:
            found = connection.execute(asked).all()
        return [Change(row[0], row[2], None if row[1] else known.decode(row[2:])) for row in found]

    def last_sequence(self, kind: str, collection: str) -> int:
        """Return the number of the last change in a collection, 0 when there was none."""
        of = kind_named(kind).table
        with self._reading() as connection:
            last = connection.execute(select(func.max(of.c.sequence)).where(of.c.collection == collection)).scalar()
        return int(last or 0)

    def rows(
        self,
        kind: str,
        collection: str,
        *,
        ids: Iterable[str] | None = None,
        split: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Row]:
        """Yield rows in order of id, a page at a time. `split` is for examples. Unknown `ids` are left out."""
        if ids is not None:
            found = self.get(kind, collection, ids)
            yield from (found[each] for each in sorted(found)[:limit])
            return
        known, last, left = kind_named(kind), "", limit
        while left is None or left > 0:
            page = self._page(known, collection, last, split, PAGE if left is None else min(PAGE, left))
            yield from page
            if not page:
                return
            last, left = page[-1].id, None if left is None else left - len(page)

    def get(self, kind: str, collection: str, ids: Iterable[str]) -> dict[str, Row]:
        """Return the rows of these ids, by id, in the order asked. Those that are not there are left out."""
        known, asked = kind_named(kind), list(dict.fromkeys(ids))
        found: dict[str, Row] = {}
        with self._reading() as connection:
            for chunk in chunks(asked):
                rows = connection.execute(_selected(known, collection).where(known.table.c.id.in_(chunk)))
                found.update((row[0], known.decode(row)) for row in rows)
        return {each: found[each] for each in asked if each in found}

    def count(self, kind: str, collection: str) -> int:
        """Return how many rows a collection holds."""
        of = kind_named(kind).table
        asked = select(func.count()).select_from(of).where(of.c.collection == collection, of.c.deleted.is_(False))
        with self._reading() as connection:
            return int(connection.execute(asked).scalar_one())

    def collections(self) -> list[tuple[str, str, int]]:
        """Return (kind, collection, rows) of everything there is."""
        found = []
        with self._reading() as connection:
            for kind in KINDS.values():
                of = kind.table
                asked = select(of.c.collection, func.count()).where(of.c.deleted.is_(False)).group_by(of.c.collection)
                found += [
                    (kind.name, row[0], int(row[1])) for row in connection.execute(asked.order_by(of.c.collection))
                ]
        return found

    def _page(self, kind: Kind, collection: str, last: str, split: str | None, size: int) -> list[Row]:
        of = kind.table
        asked = _selected(kind, collection).where(of.c.id > last).order_by(of.c.id).limit(size)
        if split is not None:
            asked = asked.where(of.c.split == split)
        with self._reading() as connection:
            return [kind.decode(row) for row in connection.execute(asked)]


def _content(kind: Kind) -> list[Any]:
    return [kind.table.c[name] for name in kind.columns]


def _selected(kind: Kind, collection: str) -> Any:
    return select(*_content(kind)).where(kind.table.c.collection == collection, kind.table.c.deleted.is_(False))
