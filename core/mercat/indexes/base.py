"""What an index is: ids and vectors in, the nearest ids out. Indexes never see text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

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
    note: str = ""  # what `auto` chose and why
    contents: str = ""  # what the rows are, in the words of who fills it: "documents of help, title+text"


class Allowed(frozenset[str]):
    """The ids that pass some filters, with the filters themselves.

    An index that keeps payloads may look at `filters` (columns to a value or a list of values) and need no ids.
    """

    filters: Mapping[str, Any]

    def __new__(cls, ids: Iterable[str], filters: Mapping[str, Any]) -> Self:
        made = super().__new__(cls, ids)
        made.filters = dict(filters)
        return made


@runtime_checkable
class Index(Protocol):
    """Nearest neighbours by inner product of unit vectors.

    Derived from rows in the store and rebuildable at any time. `sequence` is the last change of the store that it
    holds; whoever fills the index sets it. What was written is durable when `save` has returned. Vectors, stored and
    asked, are brought to length 1. NaN, zero or wrong-width vectors are refused with a DataError before anything is
    changed. One thread writes at a time, any number search meanwhile; a search sees each call of `upsert` and `delete`
    whole or not at all.
    """

    fingerprint: str
    sequence: int

    def __len__(self) -> int: ...

    def upsert(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Add or replace rows. `vectors` has shape (len(ids), dimensions). Visible in the next search.

        Of an id that comes twice in one call the last vector counts.
        """
        ...

    def delete(self, ids: Collection[str]) -> int:
        """Remove rows, return how many were there."""
        ...

    def search(self, vectors: Vectors, k: int, *, allowed: Collection[str] | None = None) -> list[Found]:
        """Return one Found per row of `vectors`, each with min(k, eligible) ids, from the allowed ids only.

        DataError if `k` is below 1. Unknown allowed ids are passed over and not counted as eligible. Pass the same
        frozenset, or `Allowed`, again and an index may remember which of its rows that are.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write what is new, so that a kill at any moment leaves the last save or this one, never a mixture."""
        ...

    def export(self, *, batch: int = 1000) -> Iterator[tuple[list[str], Vectors]]:
        """Yield every row once, in batches. Rows that are written meanwhile may come in their old or new state.

        The vectors have shape (ids of the batch, dimensions).
        """
        ...

    def info(self) -> IndexInfo:
        """Return what it really is: backend, kind, device, rows."""
        ...


@runtime_checkable
class Settling(Protocol):
    """What an index may be able to do besides, if it works in the background and lives in a folder."""

    def settle(self) -> None:
        """Wait until the work in the background is done. Raises what it has raised."""
        ...

    def outdated(self) -> bool:
        """Say whether another process has written what is stored since it was opened or saved here."""
        ...


ShardWriter = Callable[[Sequence[str], Vectors], Path]
"""Writes rows, ids and vectors of shape (ids, dimensions), as a shard and returns its folder. Can be sent elsewhere."""


@runtime_checkable
class Joining(Protocol):
    """What an index may be able to do besides, if other processes can build parts of it: shards, each in a folder."""

    def shard_writer(self, folder: Path, *, rows: int) -> ShardWriter:
        """Return what builds a shard below `folder` for this index, which is to have so many rows in the end."""
        ...

    def join(self, shard: Path) -> None:
        """Take in a shard: its rows stand for the latest of their ids. Visible in the next search, durable by `save`.

        The shard's folder is needed until then. Raises FingerprintError or ArtifactError for one that does not fit or
        is broken.
        """
        ...


@runtime_checkable
class IndexFactory(Protocol):
    """What a section `[indexes.NAME]` builds: where an index lives and of which backend it is.

    The width and the fingerprint come from the encoder of whoever fills the index, so it opens there.
    """

    @property
    def folder(self) -> Path:
        """Where `Index.save` should write."""
        ...

    def open(self, dimensions: int, fingerprint: str, *, contents: str = "", fresh: bool = False) -> Index:
        """Open what is stored, or an empty index if nothing is or if `fresh`; a fresh one replaces it when saved.

        FingerprintError: stored with another encoder. ArtifactError: broken, or its `contents` are others.
        """
        ...

    def writing(self) -> AbstractContextManager[None]:
        """Hold the right to bring what is stored up to date, for the block; ArtifactError while another holds it."""
        ...

    def stored(self) -> IndexInfo | None:
        """What lies in `folder`, read without loading it; None if nothing does."""
        ...
