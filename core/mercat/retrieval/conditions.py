"""What filters say, as a small tree: typed, made from JSON-able mappings, and the same for every retriever.

    {"topic": "cards"}                              its value, or one of its values, is this one
    {"topic": ["cards", "loans"]}                   one of these
    {"tags": {"all": ["new", "sale"]}}              each of these; "any" and "none" likewise, "equals" for one value
    {"price": {"from": 10, "below": 20}}            a range: from, above, to, below, of numbers or of times
    {"published_at": {"from": "2026-01-31"}}        times as ISO 8601; without a time zone they are UTC
    {"url": {"exists": true}}                       there is a value, and it is not empty
    {"any_of": [{...}, {...}], "none_of": [{...}]}  one of them passes, none of them does; "all_of" likewise

All entries of a mapping must hold.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mercat.errors import DataError

Scalar = str | bool | int | float | datetime
Bound = float | datetime
_LISTS = (list, tuple, set, frozenset)
_RANGE = ("from", "above", "to", "below")
_KNOWN = ("equals", "any", "all", "none", "exists", *_RANGE)
_DEEPEST = 8
_DAY = re.compile(r"\d{4}-\d\d-\d\d(?!\d)")


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of the column's values is one of these."""

    column: str
    values: Sequence[Scalar]


@dataclass(frozen=True, slots=True)
class Range:
    """One of the column's values lies between the ends; None is no end, an open end is not in it."""

    column: str
    low: Bound | None = None
    high: Bound | None = None
    low_open: bool = False
    high_open: bool = False

    def holds(self, value: Any) -> bool:
        """Say whether a value lies in the range; one of another type does not."""
        found = bound_of(value)
        for end, sign, open_end in ((self.low, 1, self.low_open), (self.high, -1, self.high_open)):
            if end is None:
                continue
            if found is None or isinstance(found, datetime) is not isinstance(end, datetime):
                return False
            ahead = (found > end) - (found < end)  # type: ignore[operator]
            if sign * ahead < 0 or (open_end and ahead == 0):
                return False
        return True


@dataclass(frozen=True, slots=True)
class Exists:
    """The column has a value that is not empty."""

    column: str


@dataclass(frozen=True, slots=True)
class Every:
    """All parts hold; without parts everything passes."""

    parts: Sequence[Condition]


@dataclass(frozen=True, slots=True)
class Either:
    """At least one part holds."""

    parts: Sequence[Condition]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Condition


Condition = OneOf | Range | Exists | Every | Either | Not


def parse(filters: Mapping[str, Any]) -> Every:
    """Return filters as a tree. Raises DataError for an operator or a type of value that they do not have."""
    return _every(filters, 1)


def columns_of(condition: Condition) -> Iterator[str]:
    """Yield the columns that a condition looks at."""
    if isinstance(condition, Every | Either):
        for part in condition.parts:
            yield from columns_of(part)
    elif isinstance(condition, Not):
        yield from columns_of(condition.part)
    else:
        yield condition.column


def bound_of(value: Any) -> Bound | None:
    """Return a number or a time as what ranges compare, times in UTC; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return None if value != value else value
    if isinstance(value, str) and _DAY.match(value):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    try:
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except OverflowError:  # the first or last day of all, elsewhere
        return value.replace(tzinfo=UTC)


def _every(filters: Any, depth: int) -> Every:
    if not isinstance(filters, Mapping):
        found = f"They are {_named(filters)}"
        raise DataError("Filters map columns to what is wanted of them", found, 'filters = {"topic": "cards"}')
    if depth > _DEEPEST:
        raise DataError("Filters within filters", f"They go deeper than {_DEEPEST}", "fewer any_of and all_of")
    return Every([_entry(str(key), wanted, depth) for key, wanted in filters.items()])


def _entry(key: str, wanted: Any, depth: int) -> Condition:
    if key in ("all_of", "any_of", "none_of"):
        if not isinstance(wanted, list | tuple):
            raise DataError(
                f"'{key}' takes a list of filters", f"It is {_named(wanted)}", f'{key} = [{{"topic": "a"}}]'
            )
        parts = [_every(part, depth + 1) for part in wanted]
        return Every(parts) if key == "all_of" else Either(parts) if key == "any_of" else Not(Either(parts))
    if isinstance(wanted, Mapping):
        return _operators(key, wanted)
    return OneOf(key, _values(key, wanted if isinstance(wanted, _LISTS) else [wanted]))


def _operators(column: str, wanted: Mapping[str, Any]) -> Condition:
    parts: list[Condition] = [_range(column, wanted)] if not set(_RANGE).isdisjoint(wanted) else []
    for name, value in wanted.items():
        if name not in _KNOWN:
            near = difflib.get_close_matches(str(name), _KNOWN, n=1)
            found = f"Did you mean '{near[0]}'? " if near else ""
            cure = f'{column} = {{"{near[0] if near else "from"}": …}}'
            raise DataError(f"A filter on '{column}' with '{name}'", f"{found}Known: {', '.join(_KNOWN)}", cure)
        if name == "exists":
            if not isinstance(value, bool):
                raise DataError(f"A filter on '{column}' with 'exists'", f"It is {_named(value)}", "true or false")
            parts.append(Exists(column) if value else Not(Exists(column)))
        elif name not in _RANGE:
            parts.append(_membership(column, name, value))
    return parts[0] if len(parts) == 1 else Every(parts)


def _membership(column: str, name: str, value: Any) -> Condition:
    if name == "equals":
        return OneOf(column, _values(column, [value]))
    if not isinstance(value, _LISTS):
        raise DataError(f"A filter on '{column}' with '{name}'", f"It is {_named(value)}", f'{name} = ["…", "…"]')
    values = _values(column, value)
    if name == "all":
        return Every([OneOf(column, [one]) for one in values])
    return OneOf(column, values) if name == "any" else Not(OneOf(column, values))


def _range(column: str, wanted: Mapping[str, Any]) -> Range:
    for closed, opened in (("from", "above"), ("to", "below")):
        if closed in wanted and opened in wanted:
            raise DataError(f"A range of '{column}'", f"It has both '{closed}' and '{opened}'", "one of them")
    ends = {name: _bound(column, name, wanted[name]) for name in _RANGE if name in wanted}
    if len({isinstance(end, datetime) for end in ends.values()}) > 1:
        raise DataError(f"A range of '{column}'", "One end is a number and one is a time", "both of one type")
    return Range(
        column,
        low=ends.get("from", ends.get("above")),
        high=ends.get("to", ends.get("below")),
        low_open="above" in ends,
        high_open="below" in ends,
    )


def _bound(column: str, name: str, value: Any) -> Bound:
    found = bound_of(value)
    if found is None:
        cure = f'{name} = 10, or {name} = "2026-01-31T12:00:00Z"'
        raise DataError(f"A range of '{column}'", f"'{name}' is {_named(value)}, no number and no time", cure)
    return found


def _values(column: str, wanted: Any) -> list[Scalar]:
    for value in wanted:
        if not isinstance(value, str | bool | int | float | datetime):
            cure = "a text, a number, true, false or a time"
            raise DataError(f"A filter on '{column}'", f"It wants {_named(value)}, which no column holds", cure)
    return list(wanted)


def _named(value: Any) -> str:
    return f"{value!r:.60} ({type(value).__name__})"
