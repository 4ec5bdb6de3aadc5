"""Column types that read back on SQLite and PostgreSQL exactly what was written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator

from mercat.errors import DataError

ID = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Text that sorts by code point on both databases, so that "in order of id" means one thing."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware `datetime`, kept in UTC. A naive one is refused: nobody could tell later what it meant."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else in_utc(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class JsonText(TypeDecorator[Any]):
    """A JSON value kept as text: the same bytes on both databases, no NaN."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else to_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


def in_utc(value: datetime) -> datetime:
    """Return `value` in UTC. Raises DataError for a time without a zone."""
    if value.tzinfo is UTC:
        return value
    if value.utcoffset() is None:
        raise DataError(
            f"The time {value.isoformat()} cannot be stored", "It has no time zone", "an aware datetime, in UTC"
        )
    return value.astimezone(UTC)


def to_json(value: Any) -> str:
    """Return canonical JSON: sorted keys, no spaces. Raises DataError for what JSON cannot say."""
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError) as error:
        raise DataError(
            "Metadata cannot be stored", f"It is not plain JSON: {error}", "str(), int() or a list"
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)
