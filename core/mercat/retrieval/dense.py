"""Dense retrieval: the rows whose vectors are nearest to the question's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from mercat.encoders.base import Encoder
from mercat.indexes.base import Index, IndexFactory, IndexInfo, Settling
from mercat.indexes.checks import positive
from mercat.indexes.move import Moved, move
from mercat.retrieval.base import Progress, Refreshed, Reranker
from mercat.retrieval.encoding import put_in, rows_at_once, with_direction
from mercat.retrieval.following import PAGE, Follower
from mercat.retrieval.reranking import rerank_hits
from mercat.retrieval.rows import Ranked, RowKind, Rows
from mercat.store import Change, Store
from mercat.values import Hit


class Dense:
    """Searches one collection by the vectors of one encoder; `use = "dense"` in `[retrievers.NAME]`.

    `text` names the columns that are encoded, joined by "+"; a metadata key is a column too. Changes in the store are
    seen within `fresh_s` seconds while there are at most `small_changes` of them; more wait for `refresh`, and a
    warning says so. A `reranker` reads the first `rerank` hits with the question and puts them in its own order. May be
    used from many threads.
    """

    def __init__(
        self,
        encoder: Encoder,
        index: IndexFactory,
        store: Store,
        *,
        collection: str,
        rows: RowKind = "documents",
        text: str = "title+text",
        fresh_s: float = 1.0,
        small_changes: int = 64,
        reranker: Reranker | None = None,
        rerank: int = 20,
        section_name: str = "",
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.collection = collection
        self._reranker, self._rerank = reranker, positive(rerank)
        self._encoder, self._rows = encoder, Rows(store, collection, rows=rows, text=text)
        self._follower = Follower(
            self._rows,
            lambda fresh: _Vectors(encoder, index, self._rows, fresh=fresh),
            name=section_name,
            fresh_s=fresh_s,
            small_changes=small_changes,
            ticks=ticks,
            page=lambda: rows_at_once(encoder, PAGE),
        )

    def search(self, text: str, *, k: int = 10, filters: Mapping[str, Any] | None = None) -> list[Hit]:
        """Search for one text."""
        return self.search_many([text], k=k, filters=filters)[0]

    def search_many(
        self, texts: Sequence[str], *, k: int = 10, filters: Mapping[str, Any] | None = None
    ) -> list[list[Hit]]:
        """Return at most `k` hits per text, best first; the score is the cosine, or the reranker's. No text, no hits.

        ArtifactError before the rows were taken in for the first time; FingerprintError if another encoder did it.
        """
        positive(k)
        index = self._follower.fresh().index
        ranked: list[Ranked] = [[] for _ in texts]
        asked, vectors = with_direction(self._encoder, texts, role="query")
        if asked:
            first = max(k, self._rerank) if self._reranker else k
            found = index.search(vectors, first, allowed=self._rows.allowed(filters))
            for position, one in zip(asked, found, strict=True):
                ranked[position] = list(zip(one.ids, one.scores, strict=True))
        hits = self._rows.hits(ranked, filters)
        if self._reranker is None:
            return hits
        pairs = zip(texts, hits, strict=True)
        return [rerank_hits(self._reranker, text, found, first=self._rerank)[:k] for text, found in pairs]

    def refresh(self, *, progress: Progress | None = None) -> Refreshed:
        """Encode what changed in the store since the last time, and save."""
        return self._follower.refresh(progress)

    def rebuild(self, *, progress: Progress | None = None) -> Refreshed:
        """Encode everything anew; the old index answers until the new one is saved."""
        return self._follower.rebuild(progress)

    def move_to(self, target: IndexFactory, *, progress: Progress | None = None) -> Moved:
        """Copy the vectors into another index, without encoding, and save it; run again, it changes nothing."""
        source = self._follower.opened().index
        into = target.open(self._encoder.dimensions, self._encoder.fingerprint, contents=self._rows.contents)
        with target.writing():
            moved = move(source, into, progress=progress)
            into.save(target.folder)
        return moved

    def infos(self) -> list[IndexInfo]:
        """Say what index is behind this."""
        return [self._follower.opened().index.info()]


class _Vectors:
    """The index of a collection, following the store."""

    def __init__(self, encoder: Encoder, factory: IndexFactory, rows: Rows, *, fresh: bool) -> None:
        self._encoder, self._factory, self._rows = encoder, factory, rows
        self.index: Index = factory.open(encoder.dimensions, encoder.fingerprint, contents=rows.contents, fresh=fresh)

    @property
    def sequence(self) -> int:
        return self.index.sequence

    @sequence.setter
    def sequence(self, value: int) -> None:
        self.index.sequence = value

    def take_in(self, changes: Sequence[Change]) -> tuple[int, int]:
        there = [(change.id, self._rows.text(change.row)) for change in changes if change.row is not None]
        kept = put_in(self._encoder, self.index, there, folder=self._factory.folder, total=self._rows.count)
        deleted = self.index.delete({change.id for change in changes} - kept)
        self.index.sequence = changes[-1].sequence
        return len(kept), deleted

    def finish(self) -> None:
        """Nothing to do: an index shows each call at once."""

    def save(self) -> None:
        self.index.save(self._factory.folder)

    def saved_sequence(self) -> int | None:
        stored = self._factory.stored()
        ours = stored and (stored.fingerprint, stored.contents) == (self._encoder.fingerprint, self._rows.contents)
        return stored.sequence if stored and ours else None

    def outdated(self) -> bool:
        if isinstance(self.index, Settling):
            return self.index.outdated()
        return (self.saved_sequence() or 0) > self.sequence

    def settle(self) -> None:
        if isinstance(self.index, Settling):
            self.index.settle()

    def writing(self) -> AbstractContextManager[None]:
        return self._factory.writing()
