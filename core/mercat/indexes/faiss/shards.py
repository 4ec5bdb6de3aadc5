"""Parts of an index that other processes build: each is an index folder of one sealed segment, joined by its files.

Whoever joins maps the files and never loads the vectors, so its memory does not grow with the rows. The next save links
them into its version (or copies them, on another disk). A search looks into every segment, so few large shards are
quicker to search than many small ones.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mercat.indexes import storage
from mercat.indexes.base import Vectors
from mercat.indexes.checks import last_of_each, unit_vectors
from mercat.indexes.faiss import merging, saving
from mercat.indexes.faiss.segments import View

if TYPE_CHECKING:
    from mercat.indexes.faiss.index import SegmentedIndex


@dataclass(frozen=True, slots=True)
class FaissShards:
    """Builds and saves shards of one index; holds what has to agree, so that it can be sent to other processes."""

    folder: Path
    kind: str
    dimensions: int
    fingerprint: str
    contents: str
    smallest: int  # rows that are worth a structure

    def __call__(self, ids: Sequence[str], vectors: Vectors) -> Path:
        """Write one shard, into a folder that nothing else has written; a call that was killed leaves nothing behind.

        (But files, which nobody joins.) Raises DataError for rows that no index takes, ArtifactError for a full disk.
        """
        from mercat.indexes.faiss import open_faiss

        ids, vectors = last_of_each(ids, unit_vectors(vectors, self.dimensions, what="The index"))
        place = self.folder / secrets.token_hex(6)
        index = open_faiss(
            place,
            dimensions=self.dimensions,
            fingerprint=self.fingerprint,
            contents=self.contents,
            fresh=True,
            kind=self.kind,
            device="cpu",
        )
        segment = merging.sealed(ids, vectors, build=index.build, kind=self.kind, smallest=self.smallest)
        index.take_over([View.whole(segment)], self.kind)
        saving.save(index, place)
        return place


def joined(index: SegmentedIndex, shard: Path) -> list[View]:
    """Check and map a shard for an index. Raises FingerprintError or ArtifactError."""
    with storage.opened(shard) as stored:
        if stored is None:
            raise storage.broken(shard / "-" / "current", "it is no shard")
        storage.expect(
            stored,
            backend="faiss",
            dimensions=index.dimensions,
            fingerprint=index.fingerprint,
            contents=index.contents,
        )
        views = saving.views_of(stored, build=index.build, read=index.read)
        if sum(view.live for view in views) != stored.manifest.rows:
            raise storage.broken(stored.folder / "log", "rows of a shard are in its segments, this one has a log")
        index.adopted |= {view.segment.name: stored.folder for view in views}
        return views
