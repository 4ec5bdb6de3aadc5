"""An index over a structure that can only be appended to, as graphs are.

A replaced or deleted row stays as a dead one that no search returns; when more than a fifth is dead, or the index has
outgrown its kind, the structure is built anew beside the old one while searches go on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mercat.errors import ArtifactError
from mercat.indexes import storage
from mercat.indexes.base import Found, IndexInfo, Vectors
from mercat.indexes.checks import last_of_each, positive, unit_vectors
from mercat.indexes.kinds import FLAT, FLAT_ROWS, checked_kind, kind_due, worth_building_anew
from mercat.indexes.locks import SharedLock
from mercat.indexes.rows import Rows
from mercat.indexes.scan import Best, RowNumbers, gathered, scan

_GATHER_ROWS = 4096  # so few allowed rows are compared one by one: exact, and quicker than a structure with a filter
_GATHER_SHARE = 0.02
_GRAPH_BLOCK, _FLAT_BLOCK = 128, 65_536  # rows added under one lock: a search waits for at most one block

Mask = NDArray[np.bool_]


class Structure(Protocol):
    """Numbered rows of vectors: appended, never changed. Searches and `take` may run side by side, `add` alone."""

    kind: str

    def __len__(self) -> int: ...

    def add(self, vectors: Vectors) -> None:
        """Append vectors of shape (rows, dimensions)."""
        ...

    def take(self, rows: RowNumbers) -> Vectors:
        """Return copies of some rows. The shape is (rows, dimensions)."""
        ...

    def search(self, queries: Vectors, k: int, *, only: Mask | None) -> tuple[NDArray[np.float32], RowNumbers]:
        """Return scores and rows of shape (queries, any width), best first, -1 as padding; `only` marks what may come.

        A structure may come back with fewer than there are.
        """
        ...

    def write(self, path: Path) -> None:
        """Write everything into a file."""
        ...


@dataclass(frozen=True, slots=True)
class Structures:
    """How a backend makes its structures."""

    backend: str
    device: str
    file: str
    new: Callable[[str], Structure]  # of a kind, empty
    read: Callable[[Path, str], Structure]  # a file of a kind


@dataclass(frozen=True, slots=True)
class _State:
    """A structure with the ids of its rows. It may hold more rows than `rows.total`: those of a running upsert."""

    structure: Structure
    rows: Rows


class AppendedIndex:
    """Rows in an append-only structure; see `Index`.

    `kind` is "auto" (flat up to `flat_rows`, HNSW32 above), "flat" or "HNSW<links>".
    """

    def __init__(
        self,
        dimensions: int,
        fingerprint: str,
        *,
        structures: Structures,
        contents: str = "",
        kind: str = "auto",
        flat_rows: int = FLAT_ROWS,
        note: str = "",
    ) -> None:
        self.dimensions, self.fingerprint, self.contents = dimensions, fingerprint, contents
        self.sequence = 0
        self._structures, self._kind, self._flat_rows = structures, checked_kind(kind), flat_rows
        self._note = note
        self._writer = Lock()  # held by whoever changes or saves
        self._lock = SharedLock()  # held for the moments of change, and by searches
        self._state = _State(structures.new(self._kind_for(0, now=FLAT)), Rows())

    def load(self, stored: storage.Stored) -> None:
        """Take over a saved index whose manifest has been checked; a kind that the config changed is built anew.

        Raises ArtifactError when ids and rows do not fit.
        """
        ids = json.loads((stored.folder / "ids.json").read_text(encoding="utf-8"))
        structure = self._structures.read(stored.folder / self._structures.file, stored.manifest.kind)
        if len(structure) != len(ids):
            place = stored.folder.parent
            raise ArtifactError(
                f"Opening the index in {place}",
                f"Its {len(ids)} ids do not fit its {len(structure)} rows",
                storage.REMEDY,
            )
        self.sequence, self.contents = stored.manifest.sequence, stored.manifest.contents
        self._state = _State(structure, Rows(ids))
        self._settle()

    def __len__(self) -> int:
        return len(self._state.rows)

    def upsert(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Add or replace rows; see `Index.upsert`."""
        ids, vectors = last_of_each(ids, unit_vectors(vectors, self.dimensions, what="The index"))
        with self._writer:
            self._settle(coming=sum(not self._state.rows.holds(key) for key in ids))
            state = self._state
            start = len(state.structure)
            self._add(state, vectors)
            with self._lock.writing():
                state.rows.append(ids, at=start)
            self._settle()

    def delete(self, ids: Collection[str]) -> int:
        """Remove rows; return how many were there."""
        with self._writer:
            with self._lock.writing():
                removed = self._state.rows.kill(ids)
            self._settle()
            return removed

    def search(self, vectors: Vectors, k: int, *, allowed: Collection[str] | None = None) -> list[Found]:
        """Find the nearest allowed rows; see `Index.search`.

        Few allowed rows are compared one by one, many by the structure with a filter. Where a graph comes back with too
        few, that query is repeated exactly, so there are always min(k, eligible) ids.
        """
        queries = unit_vectors(vectors, self.dimensions, what="A search")
        positive(k)
        with self._lock.reading():
            state = self._state
            whole = allowed is None and len(state.rows) == len(state.structure)
            rows = None if whole else state.rows.live() if allowed is None else state.rows.of(allowed)
            eligible = len(state.rows) if rows is None else len(rows)
            if not eligible or not len(queries):
                return [Found([], [], eligible, True) for _ in queries]
            if rows is not None and eligible <= max(_GATHER_ROWS, _GATHER_SHARE * len(state.rows)):
                return [_found(state, best, eligible, exact=True) for best in _one_by_one(state, queries, rows, k)]
            return _by_structure(state, queries, rows, min(k, eligible), eligible)

    def save(self, folder: Path) -> None:
        """Write all rows; see `Index.save`. Searches go on meanwhile, writes wait."""
        with self._writer:
            state = self._state
            ids = json.dumps(state.rows.listed(), ensure_ascii=False)
            files: dict[str, storage.Writer] = {
                self._structures.file: state.structure.write,
                "ids.json": lambda path: path.write_text(ids, encoding="utf-8"),
            }
            storage.write(folder, self._manifest(state), files)

    def export(self, *, batch: int = 1000) -> Iterator[tuple[list[str], Vectors]]:
        """Yield every row once; see `Index.export`. The vectors have shape (ids of the batch, dimensions)."""
        with self._lock.reading():
            ids = self._state.rows.names(self._state.rows.live())
        for start in range(0, len(ids), batch):
            with self._lock.reading():
                rows = self._state.rows.of(ids[start : start + batch])
                names, vectors = self._state.rows.names(rows), self._state.structure.take(rows)
            if names:
                yield names, vectors

    def info(self) -> IndexInfo:
        """Say what this index is."""
        now = self._manifest(self._state)
        return IndexInfo(
            now.backend,
            now.kind,
            self._structures.device,
            now.dimensions,
            now.rows,
            now.fingerprint,
            now.sequence,
            self._note,
            now.contents,
        )

    def _manifest(self, state: _State) -> storage.Manifest:
        return storage.Manifest(
            self._structures.backend,
            state.structure.kind,
            self.dimensions,
            len(state.rows),
            self.fingerprint,
            self.sequence,
            self.contents,
        )

    def _settle(self, *, coming: int = 0) -> None:
        """Build anew if too many rows are dead or another kind is due. The caller is the writer."""
        state = self._state
        wanted, total = self._kind_for(len(state.rows) + coming, now=state.structure.kind), len(state.structure)
        if wanted == state.structure.kind and not worth_building_anew(dead=total - len(state.rows), total=total):
            return
        fresh = _State(self._structures.new(wanted), Rows())
        for rows, vectors in gathered(state.rows.live(), state.structure.take):
            start = len(fresh.structure)
            fresh.structure.add(vectors)
            fresh.rows.append(state.rows.names(rows), at=start)
        with self._lock.writing():
            self._state = fresh

    def _kind_for(self, rows: int, *, now: str) -> str:
        return kind_due(self._kind, rows=rows, now=now, flat_rows=self._flat_rows)

    def _add(self, state: _State, vectors: Vectors) -> None:
        size = _FLAT_BLOCK if state.structure.kind == FLAT else _GRAPH_BLOCK
        for start in range(0, len(vectors), size):
            with self._lock.writing():
                state.structure.add(vectors[start : start + size])


def _by_structure(state: _State, queries: Vectors, rows: RowNumbers | None, k: int, eligible: int) -> list[Found]:
    scores, found = state.structure.search(queries, k, only=None if rows is None else _mask(rows, len(state.structure)))
    exact = state.structure.kind == FLAT
    answer = []
    for query, row_scores, row_numbers in zip(queries, scores, found, strict=True):
        there = np.flatnonzero(row_numbers >= 0)[:k]
        best = (row_numbers[there], row_scores[there])
        short = len(there) < k
        if short:
            every = state.rows.live() if rows is None else rows
            best = _one_by_one(state, query[None, :], every, k)[0]
        answer.append(_found(state, best, eligible, exact=exact or short))
    return answer


def _one_by_one(state: _State, queries: Vectors, rows: RowNumbers, k: int) -> list[Best]:
    return scan(queries, lambda: gathered(rows, state.structure.take), k)


def _found(state: _State, best: Best, eligible: int, *, exact: bool) -> Found:
    rows, scores = best
    return Found(state.rows.names(rows), scores.tolist(), eligible, exact)


def _mask(rows: RowNumbers, total: int) -> Mask:
    mask = np.zeros(total, dtype=np.bool_)
    mask[rows] = True
    return mask
