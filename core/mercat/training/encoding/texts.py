"""Texts of a collection, labelled or not, in train, validation and test parts."""

from __future__ import annotations

import hashlib
from typing import Literal

from mercat.errors import DataError
from mercat.evaluation import splits
from mercat.store import Store
from mercat.values import Document, Example, Passage

_KINDS: tuple[Literal["examples", "documents", "passages"], ...] = ("examples", "documents", "passages")
_PARTS = ("train", "validation", "test")


def read_texts(
    store: Store, collection: str, *, asked: str, validation_share: float, test_share: float
) -> splits.Parts:
    """Read the texts of a collection, whatever they are, and part them so that no text is on two sides.

    An example's own `split` is honoured. `asked` begins the DataError of a collection without texts.
    """
    rows = [
        Example(f"{kind} {row.id}", row.text, "", split=row.split if isinstance(row, Example) else "")
        for kind in _KINDS
        for row in store.rows(kind, collection)
        if isinstance(row, Example | Document | Passage) and row.text.strip()
    ]
    if not rows:
        found = "The store has none there"
        raise DataError(
            f"{asked} needs texts in the collection '{collection}'",
            found,
            "mercat ingest, or another collection in mercat.toml",
        )
    return splits.by_group(rows, validation=validation_share, test=test_share)


def digest_of_texts(parts: splits.Parts) -> str:
    """Return a hash of all texts and of the parts that they are in."""
    found = hashlib.sha256()
    for name in _PARTS:
        for row in sorted(getattr(parts, name), key=lambda row: row.id):
            found.update(f"{name}\0{row.id}\0{row.text}\n".encode("utf-8", "replace"))
    return found.hexdigest()


def counts_of_texts(parts: splits.Parts) -> dict[str, int]:
    """Return how many texts each part has."""
    return {name: len(getattr(parts, name)) for name in _PARTS}
