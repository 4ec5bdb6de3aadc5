"""Texts of a collection, labelled or not, in train, validation and test parts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mercat.errors import DataError
from mercat.evaluation import splits
from mercat.store import Store
from mercat.training.data import ROWS, unseen_test_rows
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


@dataclass(frozen=True, slots=True)
class Tested:
    """Test texts that a finished encoder has never seen, and what an evaluation says of the others."""

    rows: Sequence[Example]
    counts: Mapping[str, int]
    notes: Sequence[str]


def unseen_texts(parts: splits.Parts, artifact: Path) -> Tested:
    """Return the test texts that the encoder saved in `artifact` has neither learned from nor been chosen on.

    Raises DataError when there are none. An artifact that does not say what it has seen gets all, and that is said.
    """
    if not (artifact / ROWS).is_file():
        told = f"It has no {ROWS}, so what it learned from may be among the test texts; train it again to know"
        return Tested(parts.test, {"test": len(parts.test)}, [told])
    rows = unseen_test_rows(parts, artifact, texts=True)
    left_out = len(parts.test) - len(rows)
    notes = [f"{left_out} test texts were left out because training had seen them"] if left_out else []
    return Tested(rows, {"test": len(rows), "left_out_as_seen": left_out}, notes)


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
