"""What is done to a row between its source and the store: thin parts around `mercat.text`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from mercat.text.language import detect
from mercat.text.redact import KINDS, Redactor
from mercat.values import Document, Row

R = TypeVar("R", bound=Row)
_TEXTS = ("text", "title", "text_pair")


@runtime_checkable
class Transform(Protocol):
    """Takes a row and returns it, changed or not; None drops it. A row it raises on is rejected, never let through."""

    def __call__(self, row: Row) -> Row | None: ...


class Redact:
    """Replaces personal data in the texts of a row, and in the strings of its metadata, by `[EMAIL]`, `[IBAN]`, …"""

    name = "redact"

    def __init__(self, kinds: Sequence[str] = KINDS, *, metadata: bool = True) -> None:
        self._redactor, self._metadata = Redactor(kinds), metadata

    def __call__(self, row: R) -> R:
        names = [name for name in _TEXTS if hasattr(row, name)]
        changes: dict[str, Any] = {name: self._redactor.redact(getattr(row, name)) for name in names}
        if self._metadata and row.metadata:
            changes["metadata"] = self._within(row.metadata)
        return dataclasses.replace(row, **changes)

    def _within(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._redactor.redact(value)
        if isinstance(value, Mapping):
            return {key: self._within(each) for key, each in value.items()}
        return [self._within(each) for each in value] if isinstance(value, list | tuple) else value


class Language:
    """Fills in the locale of a Document that names none; "" when the text does not tell."""

    name = "language"

    def __call__(self, row: R) -> R:
        if not isinstance(row, Document) or row.locale:
            return row
        return dataclasses.replace(row, locale=detect(f"{row.title} {row.text}"))


def redact(*, kinds: Sequence[str] = KINDS, metadata: bool = True) -> Transform:
    """Return the transform that replaces personal data; see `mercat.text.redact` for the kinds."""
    return Redact(kinds, metadata=metadata)


def language() -> Transform:
    """Return the transform that fills in the locale."""
    return Language()
