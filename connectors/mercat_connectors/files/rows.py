"""From a record of a file to a row of mercat: which column goes where, and why a record is not taken."""

from __future__ import annotations

import difflib
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from mercat.errors import ConfigError, DataError
from mercat.values import Document, Example, Interaction, Row

To = Literal["documents", "examples", "interactions"]

FIELDS: dict[str, tuple[str, ...]] = {
    "documents": ("id", "text", "title", "url", "locale", "published_at", "updated_at", "subject"),
    "examples": ("id", "text", "label", "text_pair", "split", "group", "at", "subject"),
    "interactions": ("id", "user_id", "item_id", "kind", "at", "weight", "session"),
}
_NEEDED = {"documents": ("text",), "examples": ("text", "label"), "interactions": ("user_id", "item_id", "kind", "at")}
_SPLITS = ("", "train", "validation", "test")
_LATEST_UNIX_S = 4_102_444_800  # the year 2100; what is larger is in milliseconds


class Rejected(Exception):
    """A record that is not taken: `reason` is short and can be counted."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


class RowMaker:
    """Makes rows of one kind from records.

    `columns` says which column a field is read from (`{text = "body"}`); a field that is not in it is read from the
    column of its own name, if there is one. `defaults` fill fields that are empty. `where` keeps only the records with
    these values. Every other column goes into the row's metadata. Raises ConfigError for a field that the rows do not
    have.
    """

    def __init__(
        self, to: To, *, columns: Mapping[str, str], defaults: Mapping[str, str], where: Mapping[str, Any], label: str
    ) -> None:
        for name in [*columns, *defaults]:
            if name not in FIELDS[to]:
                raise ConfigError(
                    f"{label} maps the field '{name}'", f"{to} have: {', '.join(FIELDS[to])}", "mercat config"
                )
        self.to, self.label = to, label
        self._columns = {field: columns.get(field, field) for field in FIELDS[to]}
        self._named, self._defaults, self._where = dict(columns), dict(defaults), dict(where)
        self._taken = set(self._columns.values())
        self._make: Callable[[dict[str, Any], dict[str, Any]], Row] = getattr(self, f"_{to}")

    def check_header(self, header: Sequence[str], *, file: str, delimiter: str) -> None:
        """Compare a header with what is needed. Errors: DataError."""
        if len(named := [name for name in header if name]) != len(set(named)):
            twice = sorted({name for name in named if named.count(name) > 1})
            raise DataError(
                f"File '{file}' was read", f"It names a column twice: {', '.join(twice)}", "one name per column"
            )
        needed = [self._columns[field] for field in _NEEDED[self.to] if field not in self._defaults]
        for column in [*self._named.values(), *self._where, *needed]:
            if column not in header:
                raise _no_column(column, header, file=file, delimiter=delimiter)

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Tell whether `where` keeps the record."""
        return all(record.get(c) == v or _text(record.get(c)) == _text(v) for c, v in self._where.items())

    def row(self, record: Mapping[str, Any], *, file: str, number: int) -> Row:
        """Make a row. `file` and `number` go into its id when it has none. Errors: Rejected."""
        given = {field: record.get(column) for field, column in self._columns.items()}
        for field, value in self._defaults.items():
            if given.get(field) in (None, ""):
                given[field] = value
        given["id"] = _text(given["id"]) or content_id(record, file=file, number=number)
        metadata = {name: value for name, value in record.items() if name and name not in self._taken}
        return self._make(given, metadata)

    def _documents(self, given: dict[str, Any], metadata: dict[str, Any]) -> Row:
        return Document(
            given["id"],
            needed_text(given["text"]),
            title=_text(given["title"]),
            url=_text(given["url"]),
            locale=_text(given["locale"]),
            published_at=time_or_none(given["published_at"]),
            updated_at=time_or_none(given["updated_at"]),
            subject=_text(given["subject"]),
            metadata=metadata,
        )

    def _examples(self, given: dict[str, Any], metadata: dict[str, Any]) -> Row:
        text, label, split = needed_text(given["text"]), _text(given["label"]).strip(), _text(given["split"])
        if not label:
            raise Rejected("no label")
        if split not in _SPLITS:
            raise Rejected("bad split", f"'{split[:40]}' is not train, validation or test")
        return Example(
            given["id"],
            text,
            label,
            text_pair=_text(given["text_pair"]),
            split=split,
            group=_text(given["group"]),
            at=time_or_none(given["at"]),
            subject=_text(given["subject"]),
            metadata=metadata,
        )

    def _interactions(self, given: dict[str, Any], metadata: dict[str, Any]) -> Row:
        for field in ("user_id", "item_id", "kind"):
            if not _text(given[field]):
                raise Rejected(f"no {field}")
        at = time_or_none(given["at"])
        if at is None:
            raise Rejected("bad date", "no date")
        weight = given["weight"] if given["weight"] not in (None, "") else 1.0
        return Interaction(
            given["id"],
            _text(given["user_id"]),
            _text(given["item_id"]),
            _text(given["kind"]),
            at,
            weight=_number(weight),
            session=_text(given["session"]),
            metadata=metadata,
        )


def content_id(record: Mapping[str, Any], *, file: str, number: int) -> str:
    """An id from file name, content and row number: the same at every reading, never the same twice."""
    content = "\x1f".join([file, *(f"{name}\x1e{value}" for name, value in record.items())])
    return f"{hashlib.sha256(content.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}-{number}"


def needed_text(value: Any) -> str:
    """The text of a record. Errors: Rejected when there is none."""
    text = _text(value)
    if not text.strip():
        raise Rejected("no text")
    return text


def time_or_none(value: Any) -> datetime | None:
    """Read an ISO 8601 time (UTC unless it says otherwise) or Unix seconds. Errors: Rejected."""
    text = _text(value).strip()
    if not text:
        return None
    try:
        if len(text) != 8 and _is_number(text):  # eight digits are a date: 20260302
            return _from_unix(float(text))
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Rejected("bad date", f"'{text[:40]}' is neither ISO 8601 nor Unix seconds") from None


def _from_unix(seconds: float) -> datetime:
    if not 0 <= seconds < _LATEST_UNIX_S:
        raise Rejected("bad date", f"{seconds:.0f} is not Unix seconds; are they milliseconds?")
    return datetime.fromtimestamp(seconds, tz=UTC)


def _is_number(text: str) -> bool:
    return text.isascii() and text.replace(".", "", 1).removeprefix("-").isdigit()


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise Rejected("bad weight", f"'{_text(value)[:40]}' is not a number")
    return number


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _no_column(column: str, header: Sequence[str], *, file: str, delimiter: str) -> DataError:
    near = difflib.get_close_matches(column, header, n=1)
    found = (f"Did you mean '{near[0]}'? " if near else "") + f"Its columns: {', '.join(header[:30])}"
    cure = 'columns = { text = "…" } with one of them'
    if len(header) == 1:
        other = next((sign for sign in (";", "\t", ",", "|") if sign != delimiter and sign in header[0]), "")
        cure = f"delimiter = {other!r}".replace("'", '"') if other else cure
    return DataError(f"File '{file}' has no column '{column}'", found, cure)
