"""The ids of a segment's rows: bytes on the disk that are mapped, not loaded; looked up by hash."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mercat.indexes import bits as sets
from mercat.indexes.bits import Bits
from mercat.indexes.scan import RowNumbers

_FEW = 8  # with fewer than 1/8 of the rows asked for, they are looked up one by one


class Names:
    """Ids by row, never changed. `text` holds them in UTF-8 one after the other, `ends` where each ends."""

    def __init__(self, text: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        self._text, self._ends = np.asarray(text), np.asarray(ends)  # mapped still, without the slow type of a map
        self._bytes = self._text.data

    @classmethod
    def of(cls, ids: Sequence[str]) -> Names:
        """Return the names of a list of ids."""
        parts = [key.encode("utf-8", "surrogatepass") for key in ids]
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        return cls(np.frombuffer(b"".join(parts), dtype=np.uint8), ends)

    @classmethod
    def read(cls, text: Path, ends: Path) -> Names:
        """Map what `write_text` and `write_ends` wrote."""
        if not text.stat().st_size:
            return cls.of([])
        return cls(np.memmap(text, dtype=np.uint8, mode="r"), np.load(ends, mmap_mode="r"))

    def write_text(self, path: Path) -> None:
        path.write_bytes(self._text.tobytes())

    def write_ends(self, path: Path) -> None:
        with path.open("wb") as file:  # a name would be given the ending of numpy
            np.save(file, self._ends)

    def __len__(self) -> int:
        return len(self._ends)

    def at(self, rows: Sequence[int]) -> list[str]:
        """Return the ids of some rows."""
        text, wanted = self._bytes, np.asarray(rows, dtype=np.int64)
        ends = self._ends[wanted].tolist()
        starts = np.where(wanted > 0, self._ends[wanted - 1], 0).tolist()
        return [str(text[start:end], "utf-8", "surrogatepass") for start, end in zip(starts, ends, strict=True)]

    def listed(self) -> list[str]:
        """Return all ids in the order of rows."""
        whole = self._text.tobytes()
        return [whole[start:end].decode("utf-8", "surrogatepass") for start, end in pairwise([0, *self._ends.tolist()])]

    def rows_of(self, ids: Sequence[str]) -> RowNumbers:
        """Return the row of each id, -1 for one that is not there."""
        found = np.full(len(ids), -1, dtype=np.int64)
        if not len(ids) or not len(self):
            return found
        hashes, rows = self._by_hash
        asked = np.fromiter(map(hash, ids), dtype=np.int64, count=len(ids))
        places = np.searchsorted(hashes, asked)
        near = np.flatnonzero(hashes[np.minimum(places, len(hashes) - 1)] == asked)
        for position in near.tolist():
            place = int(places[position])
            while place < len(hashes) and hashes[place] == asked[position]:
                if self.at([row := int(rows[place])])[0] == ids[position]:
                    found[position] = row
                    break
                place += 1
        return found

    def marked(self, allowed: Collection[str]) -> Bits:
        """Return which rows have an id in `allowed`, a set."""
        if len(allowed) * _FEW < len(self):
            rows = self.rows_of(list(allowed))
            return sets.of_rows(rows[rows >= 0], len(self))
        return sets.packed(np.fromiter(map(allowed.__contains__, self.listed()), dtype=np.bool_, count=len(self)))

    def warm_up(self) -> None:
        """Make the table for lookups now, not at the first one."""
        _ = self._by_hash

    @cached_property
    def _by_hash(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Hashes in order and the row of each. Python's own hash differs from process to process: never saved."""
        hashes = np.fromiter(map(hash, self.listed()), dtype=np.int64, count=len(self))
        order = np.argsort(hashes, kind="stable").astype(np.int32)
        return hashes[order], order
