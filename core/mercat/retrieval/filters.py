"""Which rows pass filters. A column is a field of a row, or a key of its metadata; `conditions` says what is asked."""

from __future__ import annotations

import difflib
import logging
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from threading import Lock
from typing import Any

from mercat.indexes.base import Allowed
from mercat.retrieval.conditions import Condition, Either, Every, Exists, Not, OneOf, Range, bound_of, columns_of, parse
from mercat.store import Change
from mercat.values import Document, Example, Interaction, Passage, Row


class _Something:
    """Stands for a value that no filter can name."""


_Value = tuple[bool, Hashable]  # whether it is True or False, and the value
_log = logging.getLogger(__name__)
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
    """Say whether a row passes filters. Raises DataError for filters that cannot be used."""
    return not filters or passes(row, parse(filters))


def passes(row: Row, condition: Condition) -> bool:
    """Say whether a condition holds of a row."""
    if isinstance(condition, Every):
        return all(passes(row, part) for part in condition.parts)
    if isinstance(condition, Either):
        return any(passes(row, part) for part in condition.parts)
    if isinstance(condition, Not):
        return not passes(row, condition.part)
    return any(_holds(condition, value) for value in values_of(row, condition.column))


class Facets:
    """For each column that was ever asked, which ids have which value; kept up with the store before every answer.

    The first question for a column reads the whole collection once. A column that no row has is no error, as rows may
    come that have it: nothing passes, and a warning says so.
    """

    def __init__(self, changes: Callable[[int, int], Sequence[Change]], *, contents: str = "a collection") -> None:
        """`changes(after, limit)` returns what changed after a sequence number."""
        self._changes, self._contents = changes, contents
        self._lock = Lock()
        self._sequence = 0
        self._all: set[str] = set()
        self._known: set[str] = set()  # columns that some row had
        self._ids: dict[str, defaultdict[_Value, set[str]]] = {}  # column -> value -> ids
        self._marks: dict[str, list[tuple[str, _Value]]] = {}  # id -> (column, value)
        self._answers: dict[Hashable, Allowed] = {}  # of filters, until the store changes

    def allowed(self, filters: Mapping[str, Any]) -> Allowed:
        """Return the ids of the rows that pass: the same object until the store has changed.

        Raises DataError for filters that cannot be used.
        """
        condition = parse(filters)
        columns = list(dict.fromkeys(columns_of(condition)))
        with self._lock:
            self._cover(columns)
            self._catch_up()
            self._tell_unknown(columns)
            key = _key(condition)
            if (known := self._answers.get(key)) is None:
                known = Allowed(self._passing(condition), filters)
                self._remember(key, known)
            return known

    def _remember(self, key: Hashable, answer: Allowed) -> None:
        while len(self._answers) >= _ANSWERS:
            del self._answers[next(iter(self._answers))]
        self._answers[key] = answer

    def _cover(self, columns: Iterable[str]) -> None:
        new = [column for column in columns if column not in self._ids]
        if new:
            self._ids = {column: defaultdict(set) for column in [*self._ids, *new]}
            self._marks, self._sequence, self._answers, self._all = {}, 0, {}, set()

    def _catch_up(self) -> None:
        while batch := self._changes(self._sequence, _PAGE):
            for change in batch:
                self._note(change)
            self._sequence = batch[-1].sequence
            self._answers = {}

    def _note(self, change: Change) -> None:
        for column, value in self._marks.pop(change.id, ()):
            self._ids[column][value].discard(change.id)
            if not self._ids[column][value]:
                del self._ids[column][value]
        self._all.discard(change.id)
        if change.row is None:
            return
        row = change.row
        self._all.add(change.id)
        self._known |= _FIELDS[type(row)] | row.metadata.keys()
        marks = [(column, _hashable(value)) for column in self._ids for value in values_of(row, column)]
        for column, value in marks:
            self._ids[column][value].add(change.id)
        if marks:
            self._marks[change.id] = marks

    def _tell_unknown(self, columns: Iterable[str]) -> None:
        for column in columns:
            if self._all and column not in self._known:
                near = difflib.get_close_matches(column, self._known, n=1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                _log.warning("%s: a filter asks for '%s', which no row has.%s", self._contents, column, hint)

    def _passing(self, condition: Condition) -> set[str]:
        if isinstance(condition, Every):
            parts = sorted((self._passing(part) for part in condition.parts), key=len)
            return set.intersection(*parts) if parts else set(self._all)
        if isinstance(condition, Either):
            return set().union(*(self._passing(part) for part in condition.parts))
        if isinstance(condition, Not):
            return self._all - self._passing(condition.part)
        found = self._ids[condition.column]
        if isinstance(condition, OneOf) and not any(isinstance(bound_of(one), datetime) for one in condition.values):
            keys = ((flag, value) for value in condition.values for flag in (False, True))
            return set().union(*(found[key] for key in keys if key in found))
        return set().union(*(ids for (_, value), ids in found.items() if _holds(condition, value)))


def _holds(condition: OneOf | Range | Exists, value: Any) -> bool:
    if isinstance(condition, Range):
        return condition.holds(value)
    if isinstance(condition, Exists):
        return value not in ("", None)
    return any(value == one or _same_time(value, one) for one in condition.values)


def _same_time(value: Any, wanted: Any) -> bool:
    """Say whether both are the same moment, of which one may be written as a text."""
    found = bound_of(value)
    return isinstance(found, datetime) and found == bound_of(wanted)


def _hashable(value: Any) -> _Value:
    """Return what is the same for equal values, but not for 1 and True, which ranges tell apart.

    A mapping is only known to be there, as nobody can ask for it.
    """
    return isinstance(value, bool), value if isinstance(value, Hashable) else _Something


def _key(condition: Condition) -> Hashable:
    """Return what is the same for conditions that differ in the order of their parts and values alone."""
    if isinstance(condition, Every | Either):
        return type(condition), frozenset(_key(part) for part in condition.parts)
    if isinstance(condition, Not):
        return Not, _key(condition.part)
    if isinstance(condition, OneOf):
        return condition.column, frozenset(condition.values)
    return condition
