"""An index whose saved rows are on a server and whose unsaved ones are here, in front of them.

A server shows what is written at once, to everybody; the contract of an index says that what is not saved is not there
when it is opened again. So what `upsert` and `delete` change is kept here: new vectors in a small exact index, and the
ids of rows on the server that no longer count. A search asks both and merges. `save` sends the changes and then the
manifest, a note that names the table and the sequence.

A kill while a save sends rows: on PostgreSQL all of it is one transaction and nothing has happened. Qdrant and Milvus
have none. There the manifest still says the old sequence, and that a save to a later one was begun; some rows are
already the newer ones. Who opens it follows the store from the old sequence on and gets every change of the lost save
again, rows that came as well as rows that went; put in again they change nothing, so the first refresh makes it whole.
Until then a search may find some rows in a newer state than others, and `info().note` says so.

Other processes may search the same table, each with changes of its own in front that come from the same store. What one
has saved the others have staged, or will; an id that is staged here never counts from the table, so nothing is found
twice, and before the next change is staged what the save covers is let go.

A fresh index gets a table of its own, which nobody sees until the first save writes the manifest that names it; then
the old table is dropped. A search that meets a dropped table reads the manifest and goes on in the new one.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock

import numpy as np

from mercat.errors import ArtifactError
from mercat.indexes import storage
from mercat.indexes.base import Found, IndexInfo, Vectors
from mercat.indexes.checks import last_of_each, positive, unit_vectors
from mercat.indexes.exact import ExactIndex
from mercat.indexes.locks import SharedLock
from mercat.indexes.servers.base import Ranked, Server, Table, TableGone, fitting
from mercat.indexes.servers.manifests import Shown, is_of, new_table, read, written

STAGED_ROWS = 10_000  # of a table that nobody sees yet: more are sent before the save, to save memory


class StagedIndex:
    """Rows of one table on a server, with unsaved changes in front; made by `ServerPlace.open`."""

    def __init__(
        self,
        server: Server,
        name: str,
        *,
        section: str,
        dimensions: int,
        fingerprint: str,
        contents: str = "",
        staged_rows: int = STAGED_ROWS,
    ) -> None:
        self.dimensions, self.fingerprint, self.contents = dimensions, fingerprint, contents
        self.sequence = 0
        self._server, self._name, self._section = server, name, section
        self._staged_rows = staged_rows
        self._saved: Shown | None = None  # the manifest that was opened or saved here; None before the first save
        self._table: Table | None = None
        self._table_name = ""
        self._rows = 0  # in the table
        self._staged = ExactIndex(dimensions, fingerprint)
        self._shadowed: set[str] = set()  # ids that are staged or deleted here: in the table they do not count
        self._hidden: set[str] = set()  # those of them that the table has
        self._writer = Lock()  # held by whoever changes or saves
        self._lock = SharedLock()  # held for the moment of the change itself, and by searches

    def load(self, shown: Shown) -> None:
        """Take over what a manifest names. ArtifactError and FingerprintError if it is not what was asked for."""
        shown.expect(
            self._section,
            backend=self._server.backend,
            dimensions=self.dimensions,
            fingerprint=self.fingerprint,
            contents=self.contents,
        )
        table = self._server.table(shown.table, self.dimensions)
        rows = table.count()
        with self._lock.writing():
            self._saved, self._table, self._table_name, self._rows = shown, table, shown.table, rows
            self.sequence, self.contents = shown.manifest.sequence, shown.manifest.contents
            self._clear()

    def follow(self) -> None:
        """Take over what the manifest names now; unsaved changes come again from the store.

        ArtifactError if there is nothing any more.
        """
        stored = read(self._server, self._name, self._section)
        if stored is None:
            raise self._replaced()
        with self._still_there():
            self.load(stored)

    def __len__(self) -> int:
        return self._rows - len(self._hidden) + len(self._staged)

    def upsert(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Add or replace rows; see `Index.upsert`. They stay here until `save`."""
        ids, vectors = last_of_each(ids, unit_vectors(vectors, self.dimensions, what="The index"))
        fitting(ids, self._server.longest_id, self._server.backend)
        with self._writer, self._still_there():
            replaced = self._known_in_table(ids)
            with self._lock.writing():
                self._staged.upsert(ids, vectors)
                self._shadowed.update(ids)
                self._hidden |= replaced
            if self._saved is None and len(self._staged) >= self._staged_rows:
                self._send(None)

    def delete(self, ids: Collection[str]) -> int:
        """Remove rows; return how many were there."""
        with self._writer, self._still_there():
            gone = self._known_in_table(list(ids))
            with self._lock.writing():
                staged = self._staged.delete(set(ids))  # of what was hidden already only this can be deleted again
                fresh = len(gone - self._hidden)
                self._shadowed |= gone
                self._hidden |= gone
            return staged + fresh

    def search(self, vectors: Vectors, k: int, *, allowed: Collection[str] | None = None) -> list[Found]:
        """Search the table and what is staged; see `Index.search`."""
        queries = unit_vectors(vectors, self.dimensions, what="A search")
        positive(k)
        table = self._table
        try:
            return self._search(queries, k, allowed)
        except TableGone:
            with self._writer:
                if self._table is table:
                    self.follow()
        with self._still_there():
            return self._search(queries, k, allowed)

    def save(self, folder: Path) -> None:
        """Send what is new and write the manifest; see `Index.save`. `folder` is not used: rows are on the server.

        Searches go on meanwhile, writes wait. ArtifactError if another process has put a new table in place.
        """
        with self._writer, self._still_there():
            stored = read(self._server, self._name, self._section)
            if self._saved is not None and (stored is None or stored.table != self._table_name):
                raise TableGone(self._table_name)
            self._catch_up(stored)
            if self._saved and stored and not self._server.atomic and self._shadowed:
                self._server.set_note(self._name, written(replace(stored, unfinished=self.sequence)))
            shown = Shown(self._manifest(), self._table_name, save=uuid.uuid4().hex)
            self._send((self._name, written(shown)))
            self._saved = shown
            if stored is None or stored.table != self._table_name:
                self._drop_others()

    def export(self, *, batch: int = 1000) -> Iterator[tuple[list[str], Vectors]]:
        """Yield every row once; see `Index.export`. The vectors have shape (ids of the batch, dimensions)."""
        with self._lock.reading():
            staged, skipped, table = list(self._staged.export(batch=batch)), set(self._shadowed), self._table
        yield from staged
        with self._still_there():
            for ids, vectors in table.pages(batch) if table else ():
                keep = [row for row, key in enumerate(ids) if key not in skipped]
                if keep:
                    yield [ids[row] for row in keep], vectors[keep]

    def info(self) -> IndexInfo:
        """Say what this index is."""
        table = self._table
        return IndexInfo(
            self._server.backend,
            table.kind if table else "flat",
            table.device if table else self._server.backend,
            self.dimensions,
            len(self),
            self.fingerprint,
            self.sequence,
            self._saved.note if self._saved else "",
            self.contents,
        )

    def settle(self) -> None:
        """Nothing to wait for: there is no work in the background."""

    def outdated(self) -> bool:
        """Say whether another process has saved since this was opened or saved here."""
        stored = read(self._server, self._name, self._section)
        return stored is not None and (self._saved is None or self._saved.save != stored.save)

    def _search(self, queries: Vectors, k: int, allowed: Collection[str] | None) -> list[Found]:
        if not len(queries):
            return []
        with self._lock.reading():
            staged = self._staged.search(queries, k, allowed=allowed)
            saved, eligible, exact = self._search_table(queries, k, allowed)
        return [_merged(one, ranked, k, eligible, exact) for one, ranked in zip(staged, saved, strict=True)]

    def _search_table(
        self, queries: Vectors, k: int, allowed: Collection[str] | None
    ) -> tuple[list[Ranked], int, bool]:
        """Return what each query finds in the table, how many rows could be found, and whether all were compared."""
        only = None if allowed is None else [key for key in dict.fromkeys(allowed) if key not in self._shadowed]
        table, eligible = self._table, self._rows - len(self._hidden)
        if table is not None and only is not None:
            eligible = table.count_of(only) if only else 0
        if table is None or not eligible:
            return [[] for _ in queries], 0, True
        exact = table.compares_all(eligible, filtered=only is not None)
        without = [] if only is not None else sorted(self._shadowed)
        found = table.nearest(queries, k, only=only, without=without, exact=exact)
        short = [row for row, ranked in enumerate(found) if len(ranked) < min(k, eligible)]
        if short and not exact:  # a graph has lost its way: compare all
            again = table.nearest(queries[short], k, only=only, without=without, exact=True)
            for row, ranked in zip(short, again, strict=True):
                found[row] = ranked
        return found, eligible, exact

    def _known_in_table(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that are in the table, as it is now."""
        if self._saved is not None:
            self._catch_up(read(self._server, self._name, self._section))
        try:
            return self._in_table(ids)
        except TableGone:
            self.follow()
            return self._in_table(ids)

    def _in_table(self, ids: Sequence[str]) -> set[str]:
        known = {key for key in ids if key in self._hidden}
        asked = [key for key in dict.fromkeys(ids) if key not in self._shadowed]
        return known | (self._table.present(asked) if self._table is not None and asked else set())

    def _catch_up(self, stored: Shown | None) -> None:
        """Reckon with what another process has saved: in a new table, or beside what is staged here."""
        if self._saved is None or stored is None or stored.save == self._saved.save:
            return
        if stored.table != self._table_name or self._table is None:
            self.load(stored)
            return
        covered = 0 < self.sequence <= stored.manifest.sequence  # all that is staged here is there as well
        hidden = set() if covered or not self._shadowed else self._table.present(sorted(self._shadowed))
        with self._lock.writing():
            self._saved, self._rows = stored, stored.manifest.rows
            if covered:
                self.sequence = stored.manifest.sequence
                self._clear()
            self._hidden = hidden

    def _clear(self) -> None:
        self._staged = ExactIndex(self.dimensions, self.fingerprint)
        self._shadowed, self._hidden = set(), set()

    def _send(self, note: tuple[str, str] | None) -> None:
        """Write what is staged into the table; searches that go on have it here as well until all of it is there."""
        pages = list(self._staged.export(batch=max(1, len(self._staged))))
        ids, vectors = pages[0] if pages else ([], np.empty((0, self.dimensions), dtype=np.float32))
        table, rows = self._made(), len(self)
        table.write(ids, vectors, sorted(self._shadowed.difference(ids)), note=note)
        with self._lock.writing():
            self._clear()
            self._rows = rows

    def _made(self) -> Table:
        """Return the table, made if there is none yet."""
        if self._table is None:
            self._table_name = new_table(self._name)
            self._table = self._server.create(self._table_name, self.dimensions)
        return self._table

    def _manifest(self) -> storage.Manifest:
        return storage.Manifest(
            self._server.backend,
            self._made().kind,
            self.dimensions,
            len(self),
            self.fingerprint,
            self.sequence,
            self.contents,
        )

    def _drop_others(self) -> None:
        """Drop the table that was replaced, and those that killed builds have left."""
        for table in self._server.tables():
            if table != self._table_name and is_of(table, self._name):
                self._server.drop(table)

    @contextmanager
    def _still_there(self) -> Iterator[None]:
        try:
            yield
        except TableGone as error:
            raise self._replaced() from error

    def _replaced(self) -> ArtifactError:
        return ArtifactError(
            f"Index '{self._section}' was to be read or written on {self._server.backend}",
            "Its table is gone: another process has built it anew, or somebody has dropped it",
            "mercat index build, with --anew if it was dropped",
        )


def _merged(staged: Found, saved: Ranked, k: int, eligible: int, exact: bool) -> Found:
    best = sorted([*zip(staged.ids, staged.scores, strict=True), *saved], key=lambda hit: -hit[1])[:k]
    return Found([key for key, _ in best], [score for _, score in best], staged.eligible + eligible, exact)
