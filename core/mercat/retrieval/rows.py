"""One collection of the store, as retrievers read it: its changes, its texts, its rows as hits."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from mercat.errors import ConfigError
from mercat.indexes.base import Allowed
from mercat.retrieval.conditions import parse
from mercat.retrieval.filters import Facets, passes, values_of
from mercat.store import Change, Store
from mercat.values import Hit, Row

RowKind = Literal["documents", "passages", "examples"]
Ranked = Sequence[tuple[str, float]]  # ids and scores of one query, best first


class Rows:
    """The rows of one kind in one collection. `text` names the columns that are searched, joined by "+".

    Raises ConfigError for a `text` that names no column.
    """

    def __init__(self, store: Store, collection: str, *, rows: RowKind = "documents", text: str = "title+text") -> None:
        self.collection, self.kind = collection, rows
        self._store = store
        self._columns = [name.strip() for name in text.split("+") if name.strip()]
        if not self._columns:
            raise ConfigError(
                f"The text to search in '{collection}' is '{text}'", "It names no column", 'text = "title+text"'
            )
        self._facets = Facets(self.changes, contents=self.contents)

    @property
    def contents(self) -> str:
        """What an index of these rows holds, in words; two that differ must not be mixed."""
        return f"{self.kind} of {self.collection}, {'+'.join(self._columns)}"

    def count(self) -> int:
        return self._store.count(self.kind, self.collection)

    def last_sequence(self) -> int:
        return self._store.last_sequence(self.kind, self.collection)

    def changes(self, after: int, limit: int = 1000) -> list[Change]:
        """Return what changed after a sequence number, in order."""
        return self._store.changes(self.kind, self.collection, after=after, limit=limit)

    def deleted(self, after: int) -> set[str]:
        """Return the ids of rows that were taken out of the store after a sequence number."""
        found: set[str] = set()
        while changes := self.changes(after):
            found |= {change.id for change in changes if change.row is None}
            after = changes[-1].sequence
        return found

    def text(self, row: Row) -> str:
        """Return the text of a row that is searched: its columns that are not empty, one per line."""
        values = (value for name in self._columns for value in values_of(row, name))
        return "\n".join(text for value in values if (text := str(value).strip()))

    def texts(self, ids: Collection[str]) -> list[str]:
        """Return the texts of rows that are there and have one, in the order of their ids."""
        found = self._store.get(self.kind, self.collection, set(ids))
        return [text for key in sorted(found) if (text := self.text(found[key]))]

    def allowed(self, filters: Mapping[str, Any] | None) -> Allowed | None:
        """Return the ids that pass the filters; None if there are no filters."""
        return self._facets.allowed(filters) if filters else None

    def hits(self, ranked: Sequence[Ranked], filters: Mapping[str, Any] | None) -> list[list[Hit]]:
        """Return the rows as hits, as they are in the store now; those that are gone or do not pass are left out."""
        there = self._store.get(self.kind, self.collection, {key for one in ranked for key, _ in one})
        condition = parse(filters or {})
        passing = {key: row for key, row in there.items() if passes(row, condition)}
        return [[_hit(passing[key], score) for key, score in one if key in passing] for one in ranked]


def _hit(row: Row, score: float) -> Hit:
    return Hit(
        id=row.id,
        score=score,
        text=str(getattr(row, "text", "")),
        title=str(getattr(row, "title", "")),
        url=str(getattr(row, "url", "")),
        label=str(getattr(row, "label", "")),
        metadata=row.metadata,
    )
