"""Filters: which rows have a value in a column. A column is a field of the row, or a key of its metadata."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import fields
from threading import Lock
from typing import Any

from mercat.indexes.base import Allowed
from mercat.store import Change
from mercat.values import Document, Example, Interaction, Passage, Row

_PAGE = 1000
_ANSWERS = 64  # filters whose ids are kept
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
        self._answers: dict[Hashable, Allowed] = {}  # of filters, until the store changes

    def allowed(self, filters: Mapping[str, Any]) -> Allowed:
        """Return the ids of the rows that pass: the same object until the store has changed."""
        with self._lock:
            self._cover(filters)
            self._catch_up()
            key = _key(filters)
            if key is not None and (known := self._answers.get(key)) is not None:
                return known
            sets = [self._with(column, _listed(wanted)) for column, wanted in filters.items()]
            answer = Allowed(set.intersection(*sorted(sets, key=len)), filters)
            if key is not None:
                self._remember(key, answer)
            return answer

    def _remember(self, key: Hashable, answer: Allowed) -> None:
        while len(self._answers) >= _ANSWERS:
            del self._answers[next(iter(self._answers))]
        self._answers[key] = answer

    def _cover(self, columns: Iterable[str]) -> None:
        new = [column for column in columns if column not in self._ids]
        if new:
            self._ids = {column: defaultdict(set) for column in [*self._ids, *new]}
            self._marks, self._sequence, self._answers = {}, 0, {}

    def _catch_up(self) -> None:
        while batch := self._changes(self._sequence, _PAGE):
            for change in batch:
                self._note(change)
            self._sequence = batch[-1].sequence
            self._answers = {}

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


def _key(filters: Mapping[str, Any]) -> Hashable | None:
    """Return what makes two filters the same; None for one that cannot be compared."""
    try:
        return frozenset((column, frozenset(_listed(wanted))) for column, wanted in filters.items())
    except TypeError:
        return None


def _hashable(value: Any) -> bool:
    return isinstance(value, Hashable)
