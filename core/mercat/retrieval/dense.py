"""Dense retrieval: the rows whose vectors are nearest to the question's."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass
from threading import Lock
from typing import Any

from mercat.encoders.base import Encoder, Vectors
from mercat.errors import MercatError
from mercat.indexes.base import Index, IndexFactory, IndexInfo, Settling
from mercat.indexes.checks import positive
from mercat.indexes.move import Moved, move
from mercat.retrieval.base import Progress, Refreshed, Reranker
from mercat.retrieval.encoding import put_in, rows_at_once, with_direction
from mercat.retrieval.following import PAGE, Follower
from mercat.retrieval.reranking import rerank_hits
from mercat.retrieval.rows import Ranked, RowKind, Rows
from mercat.retrieval.serving import Serving
from mercat.store import Change, Store
from mercat.values import Hit

_log = logging.getLogger(__name__)


class Dense:
    """Searches one collection by the vectors of one encoder; `use = "dense"` in `[retrievers.NAME]`.

    `text` names the columns that are encoded, joined by "+"; a metadata key is a column too. Changes in the store are
    seen within `fresh_s` seconds while there are at most `small_changes` of them; more wait for `refresh`, and a
    warning says so. A `reranker` reads the first `rerank` hits with the question and puts them in its own order. What
    `serving` says is looked at as often: when encoder and index were switched, the next search is by the new ones. May
    be used from many threads.
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
        serving: Serving | None = None,
        section_name: str = "",
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.collection, self.serving = collection, serving
        self._reranker, self._rerank = reranker, positive(rerank)
        self._rows = Rows(store, collection, rows=rows, text=text)
        self._following: dict[str, Any] = {
            "name": section_name,
            "fresh_s": fresh_s,
            "small_changes": small_changes,
            "ticks": ticks,
        }
        self._answering = Answering(serving, self._behind(encoder, index), self._behind, fresh_s=fresh_s, ticks=ticks)

    @property
    def encoder(self) -> Encoder:
        """The encoder that answers now."""
        return self._answering.now().encoder

    @property
    def index(self) -> Index:
        """The index that answers now, opened if need be."""
        return self._answering.now().follower.opened().index

    def search(self, text: str, *, k: int = 10, filters: Mapping[str, Any] | None = None) -> list[Hit]:
        """Search for one text."""
        return self.search_many([text], k=k, filters=filters)[0]

    def search_many(
        self, texts: Sequence[str], *, k: int = 10, filters: Mapping[str, Any] | None = None
    ) -> list[list[Hit]]:
        """Return at most `k` hits per text, best first; the score is the cosine, or the reranker's. No text, no hits.

        ArtifactError before the rows were taken in for the first time; FingerprintError if another encoder did it.
        """
        first = max(positive(k), self._rerank) if self._reranker else positive(k)
        hits = self._rows.hits(self._ranked(texts, first, lambda: self._rows.allowed(filters)), filters)
        if self._reranker is None:
            return hits
        pairs = zip(texts, hits, strict=True)
        return [rerank_hits(self._reranker, text, found, first=self._rerank)[:k] for text, found in pairs]

    def nearest(self, texts: Sequence[str], k: int, *, allowed: frozenset[str] | None = None) -> list[Ranked]:
        """Return ids and cosines of what is found for each text, at most `k`, whatever the store says of them."""
        return self._ranked(texts, k, lambda: allowed)

    def refresh(self, *, progress: Progress | None = None) -> Refreshed:
        """Encode what changed in the store since the last time, and save."""
        return self._answering.now().follower.refresh(progress)

    def rebuild(self, *, progress: Progress | None = None) -> Refreshed:
        """Encode everything anew; the old index answers until the new one is saved."""
        return self._answering.now().follower.rebuild(progress)

    def beside(self, encoder: Encoder, index: IndexFactory) -> Dense:
        """Return a retriever of the same rows by another encoder and index, which nothing switches."""
        other = copy(self)
        other.serving = None
        other._answering = Answering(None, self._behind(encoder, index), self._behind, fresh_s=0, ticks=time.monotonic)
        return other

    def move_to(self, target: IndexFactory, *, progress: Progress | None = None) -> Moved:
        """Copy the vectors into another index, without encoding, and save it; run again, it changes nothing."""
        behind = self._answering.now()
        source, encoder = behind.follower.opened().index, behind.encoder
        into = target.open(encoder.dimensions, encoder.fingerprint, contents=self._rows.contents)
        with target.writing():
            moved = move(source, into, progress=progress, save=lambda: into.save(target.folder))
            into.save(target.folder)
        return moved

    def forget_deleted(self, index: IndexFactory) -> int:
        """Take rows that are gone from the store out of an index that does not answer now; encode none of the others.

        Returns how many there were; 0 for an index of other rows, or where nothing is stored.
        """
        stored = index.stored()
        if stored is None or stored.contents != self._rows.contents:
            return 0
        with index.writing():
            held = index.open(stored.dimensions, stored.fingerprint, contents=stored.contents)
            removed = held.delete(self._rows.deleted(held.sequence))
            if removed:
                held.save(index.folder)
            return removed

    def vectors(self, *, batch: int = 1000) -> Iterator[tuple[list[str], Vectors]]:
        """Yield all ids with their vectors, of shape (ids of the batch, dimensions); see `Index.export`."""
        return self.index.export(batch=batch)

    def texts(self, ids: Collection[str]) -> list[str]:
        """Return the texts of rows as they are searched, without blank ones and those that are gone."""
        return self._rows.texts(ids)

    def infos(self) -> list[IndexInfo]:
        """Say what index is behind this."""
        return [self.index.info()]

    def _ranked(self, texts: Sequence[str], k: int, allowed: Callable[[], frozenset[str] | None]) -> list[Ranked]:
        behind = self._answering.now()  # one look: encoder and index are of one pair
        index = behind.follower.fresh().index
        ranked: list[Ranked] = [[] for _ in texts]
        asked, vectors = with_direction(behind.encoder, texts, role="query")
        if asked:
            found = index.search(vectors, k, allowed=allowed())
            for position, one in zip(asked, found, strict=True):
                ranked[position] = list(zip(one.ids, one.scores, strict=True))
        return ranked

    def _behind(self, encoder: Encoder, index: IndexFactory) -> Behind:
        follower = Follower(
            self._rows,
            lambda fresh: _Vectors(encoder, index, self._rows, fresh=fresh),
            page=lambda: rows_at_once(encoder, PAGE),
            **self._following,
        )
        return Behind(encoder, follower)


@dataclass(frozen=True, slots=True)
class Behind:
    """What answers: an encoder, and the index of its vectors, which follows the store."""

    encoder: Encoder
    follower: Follower[_Vectors]


class Answering:
    """What a retriever answers with now; it looks whether a switch says otherwise at most every `fresh_s` seconds.

    What was switched to is opened and brought up to date before it takes the place of the old one, so that no answer
    goes back in time. In a process that answers already, one that cannot be opened leaves the old one answering, and is
    logged.
    """

    def __init__(
        self,
        serving: Serving | None,
        behind: Behind,
        make: Callable[[Encoder, IndexFactory], Behind],
        *,
        fresh_s: float,
        ticks: Callable[[], float],
    ) -> None:
        self._serving, self._behind, self._make = serving, behind, make
        self._fresh_s, self._ticks = fresh_s, ticks
        self._pair = serving.configured if serving else None
        self._looked_at: float | None = None
        self._turn = Lock()
        self._told = ""

    def now(self) -> Behind:
        """Return the pair that answers; of many threads one looks, the others go on with what they have."""
        if self._serving is None or not self._due():
            return self._behind
        first = self._looked_at is None
        if self._turn.acquire(blocking=first):
            try:
                if self._due():
                    self._look(self._serving, first=first)
            finally:
                self._turn.release()
        return self._behind

    def _due(self) -> bool:
        return self._looked_at is None or self._ticks() - self._looked_at >= self._fresh_s

    def _look(self, serving: Serving, *, first: bool) -> None:
        try:
            pair = serving.now()
            if pair != self._pair:
                behind = self._make(*serving.parts_now())
                if first:
                    behind.follower.opened()
                else:
                    behind.encoder.warm_up()
                    behind.follower.caught_up()
                self._behind, self._pair = behind, pair
                if not first:
                    _log.info("[retrievers.%s] answers with %s now", serving.name, pair)
            self._told = ""
        except MercatError as error:
            if first:
                raise
            if str(error) != self._told:  # once, not at each look
                _log.warning("[retrievers.%s] was switched and goes on as before: %s", serving.name, error)
            self._told = str(error)
        self._looked_at = self._ticks()


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
