"""What an index is: ids and vectors in, the nearest ids out. Indexes never see text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to one query vector, best first. `eligible` counts the rows that the filter allowed."""

    ids: Sequence[str]
    scores: Sequence[float]  # inner product of unit vectors, in [-1, 1]
    eligible: int
    exact: bool


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What an index really is; shown by `mercat index info`."""

    backend: str  # "exact", "faiss"
    kind: str  # "flat", "HNSW32", ...
    device: str  # "cpu", "cuda:0"
    dimensions: int
    rows: int
    fingerprint: str
    sequence: int
    note: str = ""


@runtime_checkable
class Index(Protocol):
    """Nearest neighbours by inner product of unit vectors.

    Derived from rows in the store and rebuildable at any time. `sequence` is the last change of the store that it holds.
    Rows with NaN, zero or wrong-width vectors are refused with a DataError before anything is changed.
    """

    fingerprint: str
    sequence: int

    def __len__(self) -> int: ...

    def upsert(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Add or replace rows. `vectors` has shape (len(ids), dimensions). Visible in the next search."""
        ...

    def delete(self, ids: Collection[str]) -> int:
        """Remove rows, return how many were there."""
        ...

    def search(self, vectors: Vectors, k: int, *, allowed: Collection[str] | None = None) -> list[Found]:
        """Return one Found per row of `vectors`, each with at most `k` ids, from the allowed ids only."""
        ...

    def save(self, folder: Path) -> None:
        """Write the index so that a kill at any moment leaves the old one or the new one, never a mixture."""
        ...

    def info(self) -> IndexInfo: ...
