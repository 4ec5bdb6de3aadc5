"""Values to table rows and back, without ORM objects: this is the hot path of every import."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, Table

from mercat.errors import DataError
from mercat.store.tables import table
from mercat.store.types import in_utc, to_json
from mercat.values import Document, Example, Interaction, Passage, Row

Encoded = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of row: its value type and its table. `columns` are in the order of the value's fields."""

    name: str
    value_type: type[Any]
    columns: tuple[str, ...]
    encode: Callable[[Any], tuple[Any, ...]]
    texts: Callable[[tuple[Any, ...]], tuple[str, ...]]  # those of the encoded values that are text
    others: Callable[[tuple[Any, ...]], Any]
    person: str = "subject"

    @property
    def table(self) -> Table:
        return table(self.name)

    def decode(self, values: Sequence[Any]) -> Row:
        """Build the value from `columns` of its row."""
        fields = list(values)
        fields[-1] = _EMPTY if fields[-1] == "{}" else json.loads(fields[-1])
        return self.value_type(*fields)  # type: ignore[no-any-return]

    def emptied(self) -> Encoded:
        """Return the content of a tombstone: everything but collection, id and source is gone."""
        kept = ("collection", "id", "source", "sequence", "stored_at")
        blanks: Encoded = {each.name: _blank(each) for each in self.table.columns if each.name not in kept}
        return {**blanks, "details": "{}", "deleted": True}


_EMPTY: Mapping[str, Any] = {}


def _blank(column: Column[Any]) -> Any:
    return None if column.nullable else column.type.python_type()


def _metadata(value: Mapping[str, Any]) -> str:
    return to_json(dict(value)) if value else "{}"


def _time(value: datetime | None) -> datetime | None:
    return None if value is None else in_utc(value)


def _document(row: Document) -> tuple[Any, ...]:
    return (
        row.id, row.text, row.title, row.url, row.source, row.locale,
        _time(row.published_at), _time(row.updated_at), row.subject, _metadata(row.metadata),
    )  # fmt: skip


def _passage(row: Passage) -> tuple[Any, ...]:
    return row.id, row.document_id, row.text, int(row.start), int(row.end), _metadata(row.metadata)


def _example(row: Example) -> tuple[Any, ...]:
    return (
        row.id, row.text, row.label, row.text_pair, row.split, row.group,
        _time(row.at), row.subject, _metadata(row.metadata),
    )  # fmt: skip


def _interaction(row: Interaction) -> tuple[Any, ...]:
    weight = float(row.weight)
    if not math.isfinite(weight):
        raise DataError(f"Row '{row.id}' cannot be stored", f"Its weight is {weight}", "a finite number")
    return (
        row.id, row.user_id, row.item_id, row.kind, in_utc(row.at), weight, row.session, _metadata(row.metadata),
    )  # fmt: skip


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "documents",
            Document,
            ("id", "text", "title", "url", "source", "locale", "published_at", "updated_at", "subject", "details"),
            _document,
            itemgetter(0, 1, 2, 3, 4, 5, 8, 9),
            itemgetter(6, 7),
        ),
        Kind(
            "passages",
            Passage,
            ("id", "document_id", "text", "start_char", "end_char", "details"),
            _passage,
            itemgetter(0, 1, 2, 5),
            itemgetter(3, 4),
        ),
        Kind(
            "examples",
            Example,
            ("id", "text", "label", "text_pair", "split", "group_key", "at", "subject", "details"),
            _example,
            itemgetter(0, 1, 2, 3, 4, 5, 7, 8),
            itemgetter(6),
        ),
        Kind(
            "interactions",
            Interaction,
            ("id", "user_id", "item_id", "kind", "at", "weight", "session", "details"),
            _interaction,
            itemgetter(0, 1, 2, 3, 6, 7),
            itemgetter(4, 5),
            person="user_id",
        ),
    )
}
_BY_TYPE = {kind.value_type: kind for kind in KINDS.values()}


def kind_named(name: str) -> Kind:
    """Return a kind by its table's name. Raises DataError for another word."""
    if name in KINDS:
        return KINDS[name]
    raise DataError(f"There are no rows of kind '{name}'", f"Kinds: {', '.join(KINDS)}", "documents")


def kind_of(row: Row) -> Kind:
    """Return the kind of a value. Raises DataError for anything but a row."""
    if type(row) in _BY_TYPE:
        return _BY_TYPE[type(row)]
    raise DataError(f"A {type(row).__name__} cannot be stored as a row", f"Kinds: {', '.join(KINDS)}", "a Document")


def encode(kind: Kind, row: Row, *, collection: str, source: str) -> Encoded:
    """Return the columns of a row with its digest, all but sequence and time.

    Raises DataError for a row that one of the databases would refuse: no id, NUL or half a surrogate in a text
    (PostgreSQL keeps neither), a time without zone, metadata that is not JSON.
    """
    try:
        values = kind.encode(row)
        texts = kind.texts(values)
        joined = "\0".join(texts)
        content = f"{joined}\0{kind.others(values)}".encode()
    except (UnicodeEncodeError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"Row '{row.id}' cannot be stored", str(error), "a row of proper values") from error
    if joined.count("\0") != len(texts) - 1:
        raise DataError(f"Row '{row.id}' cannot be stored", "It holds a NUL character", 'text.replace("\\0", "")')
    if not values[0]:
        raise DataError("A row cannot be stored", "Its id is empty", "an id that stays the same on the next import")
    columns: Encoded = dict(zip(kind.columns, values, strict=True))
    columns["source"] = columns.get("source") or source
    columns["collection"] = collection
    columns["digest"] = blake2b(content, digest_size=16).hexdigest()
    columns["deleted"] = False
    if kind.value_type is Passage:
        columns["subject"] = str(row.metadata.get("subject", ""))
    return columns


def problem_of(row: Row) -> str | None:
    """Return why a row cannot be stored, or None."""
    try:
        encode(kind_of(row), row, collection="", source="")
    except DataError as error:
        return error.found
    return None
