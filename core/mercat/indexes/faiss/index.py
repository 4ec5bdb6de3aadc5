"""The index over FAISS: sealed segments and a small tail, one writer, searches on snapshots that never change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import TypeVar

from mercat.errors import ArtifactError
from mercat.indexes.base import Found, IndexInfo, ShardWriter, Vectors
from mercat.indexes.checks import last_of_each, positive, unit_vectors
from mercat.indexes.faiss import merging, searching
from mercat.indexes.faiss.segments import Snapshot, Tail, View
from mercat.indexes.kinds import FLAT, FLAT_ROWS, TAIL_ROWS, checked_kind, index_at, kind_due
from mercat.indexes.log import Change

BACKEND = "faiss"
_PENDING_BYTES = 32 << 20  # of changes since the last save; with more the next save writes a version

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Base:
    """What is on the disk of this index: a version, and how far its log was read or written."""

    folder: Path
    version: str
    log_end: int
    segments: frozenset[str]
    sure: bool = True  # False after a write that failed
    born: int = 0  # when the version was written; a folder that was removed and filled anew counts from 1 again


class SegmentedIndex:
    """Rows in sealed segments and a tail; see `Index`.

    A call of `upsert` or `delete` is seen by the next search. What `save` has written survives a kill: a few changes
    are appended to a log, more become a new version. When `tail_rows` were written they are sealed, and a thread in the
    background builds structures over them and merges segments; it can be waited for with `settle`. Searches wait for
    nobody. `build` makes a structure of a factory string, `read` opens one that was written.
    """

    def __init__(
        self,
        dimensions: int,
        fingerprint: str,
        *,
        build: merging.Build,
        read: merging.Read,
        device: str = "cpu",
        contents: str = "",
        kind: str = "auto",
        flat_rows: int = FLAT_ROWS,
        tail_rows: int = TAIL_ROWS,
        note: str = "",
    ) -> None:
        self.dimensions, self.fingerprint, self.contents = dimensions, fingerprint, contents
        self.sequence = 0
        self.device, self.note = device, note
        self.base: Base | None = None
        self.pending: list[Change] | None = []  # since the last save; None when only a whole version will do
        self._pending_bytes = 0
        self.writer = Lock()  # held by whoever changes or saves
        self.broken: ArtifactError | None = None  # what a check in the background has found
        self.checking: Thread | None = None
        self._asked, self._flat_rows, self._tail_rows = checked_kind(kind), flat_rows, tail_rows
        self._index_at = index_at(tail_rows)
        self._kind = kind_due(self._asked, rows=0, now=FLAT, flat_rows=flat_rows)
        self.build, self.read = build, read
        self.adopted: dict[str, Path] = {}  # segments not saved here yet, and the folder of another index that has them
        self._tail = Tail(dimensions)
        self._merging: Thread | None = None
        self._failed: BaseException | None = None
        self.snapshot = Snapshot((), self._tail.view())

    @property
    def kind(self) -> str:
        """The kind of the segments: "flat", "IVF,PQ", "HNSW32", "IVF,SQ8"."""
        return self._kind

    def __len__(self) -> int:
        return len(self.snapshot)

    def upsert(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Add or replace rows; see `Index.upsert`."""
        ids, vectors = last_of_each(ids, unit_vectors(vectors, self.dimensions, what="The index"))
        self._whole()
        with self.writer:
            self.apply(Change(ids, vectors))
            self._remember(Change(ids, vectors.copy()))
            self.merge_if_due()

    def delete(self, ids: Collection[str]) -> int:
        """Remove rows; return how many were there."""
        self._whole()
        with self.writer:
            change = Change(sorted(set(ids)), None)
            removed = self.apply(change)
            if removed:
                self._remember(change)
                self.merge_if_due()
            return removed

    def shard_writer(self, folder: Path, *, rows: int) -> ShardWriter:
        """Return what builds shards; see `Joining`. They are of the kind that so many rows call for."""
        from mercat.indexes.faiss.shards import FaissShards

        kind = kind_due(self._asked, rows=rows, now=self._kind, flat_rows=self._flat_rows)
        return FaissShards(folder, kind, self.dimensions, self.fingerprint, self.contents, self._index_at)

    def join(self, shard: Path) -> None:
        """Take in a shard; see `Joining`."""
        from mercat.indexes.faiss.shards import joined

        self._whole()
        new = joined(self, shard)
        with self.writer:
            for view in new:
                self.apply(Change(view.segment.names.listed(), None))
            self._show((*self.snapshot.views, *new))
            self._kind = self._due_kind()
            self.pending = None
            self.merge_if_due()

    def search(self, vectors: Vectors, k: int, *, allowed: Collection[str] | None = None) -> list[Found]:
        """Find the nearest allowed rows; see `Index.search`. Waits for no lock. How: see `searching`."""
        queries = unit_vectors(vectors, self.dimensions, what="A search")
        positive(k)
        self._whole()
        return searching.search(self.snapshot, queries, k, allowed)

    def save(self, folder: Path) -> None:
        """Write what is new; see `Index.save`. Searches go on meanwhile, writes wait.

        The first save into a folder merges everything into one segment, unless shards were joined. ArtifactError if
        another process has changed what is there since, or if the disk is full; what was saved before is still there.
        """
        from mercat.indexes.faiss.saving import save

        self._checked()
        first = self.base is None or self.base.folder != folder or not self.base.log_end
        if first and not self.adopted:
            self.compact()
        save(self, folder)

    def export(self, *, batch: int = 1000) -> Iterator[tuple[list[str], Vectors]]:
        """Yield every row once, as they are now; see `Index.export`. The shape is (ids of the batch, dimensions)."""
        snapshot = self.snapshot
        for view in snapshot.views:
            rows = view.rows()
            for start in range(0, len(rows), batch):
                some = rows[start : start + batch]
                yield view.segment.names.at(some.tolist()), view.segment.originals.take(some)
        rows = snapshot.tail.rows()
        for start in range(0, len(rows), batch):
            some = rows[start : start + batch]
            yield [snapshot.tail.ids[row] for row in some.tolist()], snapshot.tail.vectors[some]

    def info(self) -> IndexInfo:
        """Say what this index is, with its segments."""
        snapshot = self.snapshot
        told = getattr(self.build, "note", "")
        note = "; ".join(part for part in (self.note, told, _chosen(self._asked, self._kind), _parts(snapshot)) if part)
        return IndexInfo(
            BACKEND,
            self._kind,
            self.device,
            self.dimensions,
            len(snapshot),
            self.fingerprint,
            self.sequence,
            note,
            self.contents,
        )

    @property
    def merging(self) -> bool:
        """Whether segments are being merged now."""
        return self._merging is not None

    def settle(self) -> None:
        """Wait until nothing is left to be merged. Raises what a merge has raised."""
        while (running := self._merging) is not None:
            running.join()
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed

    def outdated(self) -> bool:
        """Say whether another process has written the folder since it was opened or saved here."""
        from mercat.indexes.faiss.saving import changed_by_others

        return self.base is not None and changed_by_others(self.base)

    def compact(self) -> None:
        """Merge everything into one segment, if it is not; writes wait."""
        self._checked()
        self.settle()
        with self.writer:
            snapshot = self.snapshot
            wanted = self._due_kind()
            whole = len(snapshot.views) == 1 and not snapshot.views[0].dead and not snapshot.tail.total
            small = not snapshot.views and snapshot.tail.total <= self._tail_rows and wanted == FLAT
            if small or not len(snapshot) or (whole and not merging.due(snapshot.views, kind=wanted, index_at=1)):
                return
            self.seal(whole=True)
            views, self._kind = self.snapshot.views, wanted
            new = _apart(lambda: merging.merged(views, kind=wanted, smallest=self._index_at, build=self.build))
            self._show(merging.swapped(self.snapshot, views, new))
            self.pending = None

    def apply(self, change: Change) -> int:
        """Make one change and show it; return how many rows died. The caller is the writer."""
        views, removed = list(self.snapshot.views), self._tail.kill(change.ids)
        for number, view in enumerate(views):
            rows = view.found(change.ids)
            if len(rows):
                views[number] = view.without(rows)
                removed += len(rows)
        if change.vectors is not None:
            self._tail.append(change.ids, change.vectors)
        self._show(tuple(views))
        if len(self._tail) >= self._tail_rows:
            self.seal()
        return removed

    def seal(self, *, whole: bool = False) -> None:
        """Make the tail a segment; one that is mostly dead is written anew unless `whole`. The caller is the writer."""
        tail = self.snapshot.tail
        rows = tail.rows()
        ids = [tail.ids[row] for row in rows.tolist()]
        self._tail, views = Tail(self.dimensions), self.snapshot.views
        if not whole and len(ids) * 2 < tail.total < 2 * self._tail_rows:
            self._tail.append(ids, tail.vectors[rows])
        elif ids:
            segment = merging.sealed(ids, tail.vectors[rows], build=self.build)
            views = (*views, View.whole(segment))
            self.pending = None
        self._show(views)

    def take_over(self, views: Sequence[View], kind: str) -> None:
        """Start from segments that were saved."""
        self._kind = kind_due(self._asked, rows=sum(view.live for view in views), now=kind, flat_rows=self._flat_rows)
        self._show(tuple(views))

    def merge_if_due(self) -> None:
        """Start merging in the background if it is time. The caller is the writer."""
        if self._merging is None and self._due():
            self._merging = Thread(target=self._merge, name="mercat-index-merge", daemon=True)
            self._merging.start()

    def _merge(self) -> None:
        """Merge until nothing is due."""
        try:
            self._checked()
            while True:
                with self.writer:
                    numbers = self._due()
                    if not numbers:
                        self._merging = None
                        return
                    self._kind = kind = self._due_kind()
                    views = [self.snapshot.views[number] for number in numbers]
                new = merging.merged(views, kind=kind, smallest=self._index_at, build=self.build)
                with self.writer:
                    if {view.segment.name for view in views} <= {view.segment.name for view in self.snapshot.views}:
                        self._show(merging.swapped(self.snapshot, views, new))
        except BaseException as error:
            _log.exception("merging the segments of an index failed: %s", self.contents or "an index")
            self._failed, self._merging = error, None

    def _due(self) -> list[int]:
        return merging.due(self.snapshot.views, kind=self._due_kind(), index_at=self._index_at)

    def _due_kind(self) -> str:
        return kind_due(self._asked, rows=len(self.snapshot), now=self._kind, flat_rows=self._flat_rows)

    def _show(self, views: tuple[View, ...]) -> None:
        self.snapshot = Snapshot(views, self._tail.view())

    def _remember(self, change: Change) -> None:
        if self.pending is not None:
            self._pending_bytes = change.size + (self._pending_bytes if self.pending else 0)
            self.pending.append(change)
            if self._pending_bytes > _PENDING_BYTES:
                self.pending = None

    def _checked(self) -> None:
        """Wait for the check of what was opened: nothing is made of files that are not what was saved."""
        if self.checking is not None:
            self.checking.join()
        self._whole()

    def _whole(self) -> None:
        if self.broken is not None:
            raise self.broken


def _chosen(asked: str, kind: str) -> str:
    why = "so few rows need no structure" if kind == FLAT else "lists of short codes, the best compared again"
    return f"auto: {kind}, {why}" if asked == "auto" else ""


def _parts(snapshot: Snapshot) -> str:
    parts = [f"{view.live:,} rows {view.segment.kind}" for view in snapshot.views]
    return ", ".join([*parts, f"{snapshot.tail.live:,} in the tail"]) if parts else ""


def _apart(act: Callable[[], T]) -> T:
    """Do something in a thread of its own: FAISS's number of threads is that of the thread that sets it."""
    done: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(act())
        except BaseException as error:
            failed.append(error)

    thread = Thread(target=run, name="mercat-index-build")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
