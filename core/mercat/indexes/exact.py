"""The exact index: numpy alone, every search compares with every row. Right up to some 100,000 rows, and the
reference that other backends are tested against."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from threading import Lock

import numpy as np

from mercat.indexes import storage
from mercat.indexes.base import Found, IndexInfo, Vectors
from mercat.indexes.checks import last_of_each, positive, unit_vectors
from mercat.indexes.locks import SharedLock
from mercat.indexes.places import Place
from mercat.indexes.scan import Best, RowNumbers, contiguous, gathered, scan

BACKEND = "exact"


class ExactIndex:
    """Rows in one float32 array that doubles when full; a deleted row is filled with the last one."""

    def __init__(self, dimensions: int, fingerprint: str, *, contents: str = "", note: str = "") -> None:
        self.dimensions, self.fingerprint, self.contents = dimensions, fingerprint, contents
        self.sequence = 0
        self._note = note
        self._ids: list[str] = []
        self._row_of: dict[str, int] = {}
        self._vectors: Vectors = np.empty((0, dimensions), dtype=np.float32)
        self._writer = Lock()  # held by whoever changes or saves
        self._lock = SharedLock()  # held for the moment of the change itself, and by searches

    def load(self, stored: storage.Stored) -> None:
        """Take over a saved index whose manifest has been checked."""
        self._ids = json.loads((stored.folder / "ids.json").read_text(encoding="utf-8"))
        self._row_of = {key: row for row, key in enumerate(self._ids)}
        self._vectors = np.load(stored.folder / "vectors.npy")
        self.sequence, self.contents = stored.manifest.sequence, stored.manifest.contents

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, key: object) -> bool:
        return key in self._row_of

    def upsert(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Add or replace rows; see `Index.upsert`."""
        ids, vectors = last_of_each(ids, unit_vectors(vectors, self.dimensions, what="The index"))
        with self._writer, self._lock.writing():
            new = [key for key in ids if key not in self._row_of]
            self._reserve(len(self._ids) + len(new))
            for key in new:
                self._row_of[key] = len(self._ids)
                self._ids.append(key)
            self._vectors[[self._row_of[key] for key in ids]] = vectors

    def delete(self, ids: Collection[str]) -> int:
        """Remove rows; return how many were there."""
        with self._writer, self._lock.writing():
            return sum(self._remove(key) for key in ids)

    def search(self, vectors: Vectors, k: int, *, allowed: Collection[str] | None = None) -> list[Found]:
        """Compare with every allowed row; see `Index.search`."""
        queries = unit_vectors(vectors, self.dimensions, what="A search")
        positive(k)
        with self._lock.reading():
            if allowed is None:
                eligible = len(self._ids)
                best = scan(queries, lambda: contiguous(self._vectors[:eligible]), k)
            else:
                rows = self._rows(allowed)
                eligible = len(rows)
                best = scan(queries, lambda: gathered(rows, self._vectors.__getitem__), k)
            return [self._found(one, eligible) for one in best]

    def save(self, folder: Path) -> None:
        """Write all rows; see `Index.save`. Searches go on meanwhile, writes wait."""
        with self._writer:
            rows = self._vectors[: len(self._ids)]
            ids = json.dumps(self._ids, ensure_ascii=False)
            manifest = storage.Manifest(
                BACKEND, "flat", self.dimensions, len(rows), self.fingerprint, self.sequence, self.contents
            )
            files = {
                "vectors.npy": lambda path: np.save(path, rows),
                "ids.json": lambda path: path.write_text(ids, encoding="utf-8"),
            }
            storage.write(folder, manifest, files)

    def export(self, *, batch: int = 1000) -> Iterator[tuple[list[str], Vectors]]:
        """Yield every row once; see `Index.export`. The vectors have shape (ids of the batch, dimensions)."""
        with self._lock.reading():
            ids = list(self._ids)
        for start in range(0, len(ids), batch):
            with self._lock.reading():
                still = [key for key in ids[start : start + batch] if key in self._row_of]
                vectors = self._vectors[[self._row_of[key] for key in still]]
            if still:
                yield still, vectors

    def info(self) -> IndexInfo:
        """Say what this index is."""
        return IndexInfo(
            BACKEND,
            "flat",
            "cpu",
            self.dimensions,
            len(self),
            self.fingerprint,
            self.sequence,
            self._note,
            self.contents,
        )

    def _reserve(self, rows: int) -> None:
        if rows > len(self._vectors):
            grown = np.empty((max(rows, 2 * len(self._vectors), 64), self.dimensions), dtype=np.float32)
            grown[: len(self._ids)] = self._vectors[: len(self._ids)]
            self._vectors = grown

    def _remove(self, key: str) -> bool:
        row = self._row_of.pop(key, None)
        if row is None:
            return False
        last_id = self._ids.pop()
        if last_id != key:
            self._ids[row] = last_id
            self._row_of[last_id] = row
            self._vectors[row] = self._vectors[len(self._ids)]
        return True

    def _rows(self, allowed: Collection[str]) -> RowNumbers:
        return np.unique(
            np.fromiter((row for row in map(self._row_of.get, allowed) if row is not None), dtype=np.int64)
        )

    def _found(self, best: Best, eligible: int) -> Found:
        rows, scores = best
        return Found([self._ids[row] for row in rows.tolist()], scores.tolist(), eligible, True)


class Exact(Place):
    """What `use = "exact"` in `[indexes.NAME]` builds."""

    def open(self, dimensions: int, fingerprint: str, *, contents: str = "", fresh: bool = False) -> ExactIndex:
        """Open the saved index, or an empty one; see `IndexFactory.open`."""
        return open_exact(self.folder, dimensions=dimensions, fingerprint=fingerprint, contents=contents, fresh=fresh)


def open_exact(
    folder: Path, *, dimensions: int, fingerprint: str, contents: str = "", fresh: bool = False, note: str = ""
) -> ExactIndex:
    """Open the exact index saved in `folder`, or an empty one if nothing is or if `fresh`."""
    index = ExactIndex(dimensions, fingerprint, contents=contents, note=note)
    if not fresh:
        with storage.opened(folder) as stored:
            if stored is not None:
                storage.expect(
                    stored, backend=BACKEND, dimensions=dimensions, fingerprint=fingerprint, contents=contents
                )
                index.load(stored)
    return index
