"""The parts of an index: sealed segments that never change, and a small tail that grows.

Searches work on a `Snapshot`, which never changes either: a write makes a new one and puts it in the place of the old.
"""

from __future__ import annotations

import os
import secrets
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mercat.indexes import bits as sets
from mercat.indexes.base import Vectors
from mercat.indexes.bits import Bits
from mercat.indexes.faiss.library import faiss, write_index
from mercat.indexes.faiss.structures import Structure
from mercat.indexes.kinds import FLAT
from mercat.indexes.names import Names
from mercat.indexes.scan import RowNumbers

_SAMPLE = 256  # allowed rows that the answer of a structure is tried on
_REMEMBERED = 32  # filters whose rows in a segment are kept
_KEPT_BYTES = 2 << 20  # of the vectors of one filter


class Originals:
    """Vectors as they came, by row, in memory or mapped from a file; never changed.

    `sparing`: few rows are read from the file, not through the map, so that a large file does not fill the memory.
    """

    def __init__(self, flat: Any, path: Path | None = None, *, sparing: bool = False) -> None:
        self.flat = flat
        self.rows: Vectors = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(flat.ntotal, flat.d)
        self._file = os.open(path, os.O_RDONLY) if path and sparing and hasattr(os, "pread") else None
        if self._file is not None:
            weakref.finalize(self, os.close, self._file)
        self._start = path.stat().st_size - self.rows.nbytes if path else 0

    @classmethod
    def of(cls, vectors: Vectors) -> Originals:
        flat = faiss.IndexFlatIP(vectors.shape[1])
        flat.add(vectors)
        return cls(flat)

    @classmethod
    def read(cls, path: Path, *, sparing: bool) -> Originals:
        return cls(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC), path, sparing=sparing)

    def __len__(self) -> int:
        return len(self.rows)

    def write(self, path: Path) -> None:
        write_index(self.flat, path)

    def take(self, rows: RowNumbers) -> Vectors:
        """Return copies of some rows. The shape is (rows, dimensions)."""
        if self._file is None:
            return self.rows[rows]
        size, handle = 4 * self.rows.shape[1], self._file
        read = b"".join(os.pread(handle, size, self._start + size * row) for row in rows.tolist())
        return np.frombuffer(read, dtype=np.float32).reshape(len(rows), self.rows.shape[1])

    def scores(self, queries: Vectors, rows: RowNumbers) -> Vectors:
        """Compare each query with rows of its own; where a row is -1 the score is that of padding, lowest of all.

        The shape is that of `rows`: (queries, width).
        """
        found = np.full(rows.shape, -np.inf, dtype=np.float32)
        if self._file is None:
            rows = np.ascontiguousarray(rows)
            pointers = (faiss.swig_ptr(each) for each in (found, queries, self.rows, rows))
            faiss.fvec_inner_products_by_idx(*pointers, queries.shape[1], *rows.shape)
            return found
        there = rows >= 0
        found[there] = np.einsum("ij,ij->i", self.take(rows[there]), queries[np.nonzero(there)[0]])
        return found


class Marked:
    """The rows of a segment that a filter allows, dead ones too, and what is worked out of them once."""

    def __init__(self, bits: Bits, originals: Originals) -> None:
        self.bits, self._originals = bits, originals
        self.count = sets.count(bits)
        self._kept: Vectors | None = None
        self.memo: dict[str, Any] = {}  # of the structure

    @cached_property
    def rows(self) -> RowNumbers:
        """The rows in order."""
        return sets.rows_of(self.bits, len(self._originals))

    def vectors(self) -> Vectors:
        """Return copies of the vectors of the rows, kept if they are few. The shape is (rows, dimensions)."""
        if self._kept is not None:
            return self._kept
        found = self._originals.take(self.rows)
        if found.nbytes <= _KEPT_BYTES:
            self._kept = found
        return found

    @cached_property
    def sample(self) -> tuple[RowNumbers, Vectors]:
        """Some of the rows, and their vectors: of shape (rows, dimensions)."""
        draw = np.random.default_rng(self.count)
        rows = np.unique(self.rows[draw.integers(0, self.count, _SAMPLE)])
        return rows, self._originals.take(rows)


class Segment:
    """Sealed rows: ids, vectors and, unless they are few, a structure over them."""

    def __init__(self, names: Names, originals: Originals, structure: Structure | None, *, name: str = "") -> None:
        self.name = name or secrets.token_hex(6)
        self.names, self.originals, self.structure = names, originals, structure
        self._marked: dict[int, tuple[weakref.ref[frozenset[str]], Marked]] = {}

    def __len__(self) -> int:
        return len(self.names)

    @property
    def kind(self) -> str:
        return self.structure.kind if self.structure else FLAT

    def marked(self, allowed: frozenset[str]) -> Marked:
        """Return which rows a filter allows; of the same set it is found out once."""
        known = self._marked.get(id(allowed))
        if known is not None and known[0]() is allowed:
            return known[1]
        marked = Marked(self.names.marked(allowed), self.originals)
        for key in list(self._marked)[: max(0, len(self._marked) - _REMEMBERED + 1)]:
            self._marked.pop(key, None)
        self._marked[id(allowed)] = (weakref.ref(allowed), marked)
        return marked


@dataclass(frozen=True, slots=True)
class View:
    """A segment and which of its rows are alive; None for all."""

    segment: Segment
    alive: Bits | None
    live: int

    @classmethod
    def whole(cls, segment: Segment) -> View:
        return cls(segment, None, len(segment))

    @property
    def dead(self) -> int:
        return len(self.segment) - self.live

    def rows(self) -> RowNumbers:
        """Return the rows that are alive, in order."""
        return np.arange(len(self.segment)) if self.alive is None else sets.rows_of(self.alive, len(self.segment))

    def found(self, ids: Sequence[str]) -> RowNumbers:
        """Return the rows of those `ids` that are here and alive."""
        rows = self.segment.names.rows_of(ids)
        rows = np.unique(rows[rows >= 0])
        return rows if self.alive is None or not len(rows) else rows[sets.has(self.alive, rows)]

    def without(self, rows: RowNumbers) -> View:
        """Return a view in which some rows, alive until now, are dead."""
        alive = sets.every(len(self.segment)) if self.alive is None else self.alive
        return replace(self, alive=sets.without(alive, rows), live=self.live - len(rows))


@dataclass(frozen=True, slots=True)
class TailView:
    """The first `total` rows of the tail, and which of them are alive."""

    ids: Sequence[str]
    vectors: Vectors  # of shape (total, dimensions)
    alive: tuple[int, ...] | None  # rows in order, None for all
    total: int

    @property
    def live(self) -> int:
        return self.total if self.alive is None else len(self.alive)

    def rows(self) -> RowNumbers:
        return np.arange(self.total) if self.alive is None else np.array(self.alive, dtype=np.int64)


class Tail:
    """The rows that were written last. Only the writer touches it; searches see a `TailView`.

    Rows are only appended: what a view shows is not written again.
    """

    def __init__(self, dimensions: int) -> None:
        self._vectors: Vectors = np.empty((0, dimensions), dtype=np.float32)
        self._ids: list[str] = []
        self._row_of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def append(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Append rows of shape (ids, dimensions); a row that held one of the ids is dead."""
        start = len(self._ids)
        self._reserve(start + len(ids))
        self._vectors[start : start + len(ids)] = vectors
        self._ids += ids
        self._row_of.update(zip(ids, range(start, start + len(ids)), strict=True))

    def kill(self, ids: Sequence[str]) -> int:
        """Take rows out; return how many were there."""
        return sum(self._row_of.pop(key, None) is not None for key in ids)

    def view(self) -> TailView:
        total = len(self._ids)
        alive = None if len(self._row_of) == total else tuple(sorted(self._row_of.values()))
        return TailView(self._ids, self._vectors[:total], alive, total)

    def _reserve(self, total: int) -> None:
        if total > len(self._vectors):
            grown = np.empty((max(total, 2 * len(self._vectors), 64), self._vectors.shape[1]), dtype=np.float32)
            grown[: len(self._ids)] = self._vectors[: len(self._ids)]
            self._vectors = grown


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What searches see. Replaced whole by every write."""

    views: tuple[View, ...] = ()
    tail: TailView = field(default=TailView([], np.empty((0, 0), dtype=np.float32), None, 0))

    def __len__(self) -> int:
        return sum(view.live for view in self.views) + self.tail.live
