"""Filters: which rows have a value in a column. A column is a field of the row, or a key of its metadata."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import fields
from threading import Lock
from typing import Any

from mercat.store import Change
from mercat.values import Document, Example, Interaction, Passage, Row

_PAGE = 1000
_FIELDS: dict[type[Any], frozenset[str]] = {
    kind: frozenset(field.name for field in fields(kind)) - {"metadata"}
    for kind in (Document, Passage, Example, Interaction)
}


def values_of(row: Row, column: str) -> Sequence[Any]:
    """Return the values of a row in a column: the items of a list, else the value itself, none if it is not there."""
    value = getattr(row, column) if column in _FIELDS[type(row)] else row.metadata.get(column)
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)


def matches(row: Row, filters: Mapping[str, Any] | None) -> bool:
    """Say whether a row passes: in every column, one of its values is one of those wanted."""
    return all(
        any(value in wanted for value in values_of(row, column))
        for column, wanted in ((column, _listed(wanted)) for column, wanted in (filters or {}).items())
    )


class Facets:
    """For each column that was ever asked, which ids have which value; kept up with the store before every answer.

    The first question for a column reads the whole collection once.
    """

    def __init__(self, changes: Callable[[int, int], Sequence[Change]]) -> None:
        """`changes(after, limit)` returns what changed after a sequence number."""
        self._changes = changes
        self._lock = Lock()
        self._sequence = 0
        self._ids: dict[str, defaultdict[Hashable, set[str]]] = {}  # column -> value -> ids
        self._marks: dict[str, list[tuple[str, Hashable]]] = {}  # id -> (column, value)

    def allowed(self, filters: Mapping[str, Any]) -> set[str]:
        """Return the ids of the rows that pass."""
        with self._lock:
            self._cover(filters)
            self._catch_up()
            sets = [self._with(column, _listed(wanted)) for column, wanted in filters.items()]
        return set.intersection(*sorted(sets, key=len))

    def _cover(self, columns: Iterable[str]) -> None:
        new = [column for column in columns if column not in self._ids]
        if new:
            self._ids = {column: defaultdict(set) for column in [*self._ids, *new]}
            self._marks, self._sequence = {}, 0

    def _catch_up(self) -> None:
        while batch := self._changes(self._sequence, _PAGE):
            for change in batch:
                self._note(change)
            self._sequence = batch[-1].sequence

    def _note(self, change: Change) -> None:
        for column, value in self._marks.pop(change.id, ()):
            self._ids[column][value].discard(change.id)
        if change.row is None:
            return
        row = change.row
        marks = [(column, value) for column in self._ids for value in values_of(row, column) if _hashable(value)]
        for column, value in marks:
            self._ids[column][value].add(change.id)
        if marks:
            self._marks[change.id] = marks

    def _with(self, column: str, wanted: Sequence[Any]) -> set[str]:
        found = self._ids[column]
        return set().union(*(found[value] for value in wanted if _hashable(value) and value in found))


def _listed(wanted: Any) -> Sequence[Any]:
    return list(wanted) if isinstance(wanted, list | tuple | set | frozenset) else [wanted]


def _hashable(value: Any) -> bool:
    return isinstance(value, Hashable)
