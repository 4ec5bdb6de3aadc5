"""Which row of an append-only structure holds which id, and which rows are dead."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from mercat.indexes.scan import RowNumbers


class Rows:
    """Ids by row. A row that is replaced or deleted stays, marked dead, until the structure is built anew."""

    def __init__(self, ids: Sequence[str | None] = ()) -> None:
        """`ids` has None for a dead row."""
        self._ids: list[str | None] = list(ids)
        self._row_of = {key: row for row, key in enumerate(self._ids) if key is not None}
        self._live = np.array([key is not None for key in self._ids], dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._row_of)

    @property
    def total(self) -> int:
        """Rows, dead ones included."""
        return len(self._ids)

    @property
    def dead(self) -> int:
        return self.total - len(self)

    def append(self, ids: Sequence[str], *, at: int) -> None:
        """Give the rows from `at` on to `ids`; rows that held these ids die, and so do rows that were skipped."""
        self.kill(ids)
        self._ids += [None] * (at - self.total)
        self._row_of.update(zip(ids, range(at, at + len(ids)), strict=True))
        self._ids += ids
        self._reserve(self.total)
        self._live[at : self.total] = True

    def kill(self, ids: Collection[str]) -> int:
        """Mark the rows of `ids` dead; return how many were alive."""
        rows = [self._row_of.pop(key) for key in set(ids) if key in self._row_of]
        for row in rows:
            self._ids[row] = None
        self._live[rows] = False
        return len(rows)

    def live(self) -> RowNumbers:
        """Return the live rows in order."""
        return np.flatnonzero(self._live[: self.total])

    def of(self, ids: Collection[str]) -> RowNumbers:
        """Return the live rows of those `ids` that are there, in order."""
        return np.unique(np.fromiter((row for row in map(self._row_of.get, ids) if row is not None), dtype=np.int64))

    def holds(self, key: str) -> bool:
        return key in self._row_of

    def names(self, rows: NDArray[np.int64]) -> list[str]:
        """Return the ids of live rows."""
        return [name for row in rows.tolist() if (name := self._ids[row]) is not None]

    def listed(self) -> list[str | None]:
        """Return the id of every row, None for a dead one: what `Rows(...)` takes."""
        return list(self._ids)

    def _reserve(self, total: int) -> None:
        if total > len(self._live):
            grown = np.zeros(max(total, 2 * len(self._live), 64), dtype=np.bool_)
            grown[: len(self._live)] = self._live
            self._live = grown
