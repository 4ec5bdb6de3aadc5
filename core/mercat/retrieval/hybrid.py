"""Several retrievers as one: their rankings are fused."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mercat.encoders.base import Encoder
from mercat.errors import ConfigError
from mercat.indexes.base import IndexFactory, IndexInfo
from mercat.indexes.checks import positive
from mercat.indexes.move import Moved
from mercat.retrieval.base import Progress, Refreshed, Retriever
from mercat.retrieval.dense import Dense
from mercat.retrieval.fusion import RRF_K, collapse, fuse
from mercat.retrieval.lexical import Bm25
from mercat.retrieval.rows import RowKind
from mercat.store import Store
from mercat.values import Hit


class Fused:
    """Asks each retriever for `depth` hits and fuses them by rank.

    `weights`: one per retriever, all 1 by default. With `near_duplicates` above 0, of hits whose texts overlap that
    much (Jaccard, 0 to 1) only the best is kept. Raises ConfigError without retrievers, and for weights of another
    number.
    """

    def __init__(
        self,
        retrievers: Sequence[Retriever],
        *,
        depth: int = 100,
        rrf_k: int = RRF_K,
        weights: Sequence[float] | None = None,
        near_duplicates: float = 0.0,
    ) -> None:
        if not retrievers or (weights is not None and len(weights) != len(retrievers)):
            raise ConfigError(
                "A fused retriever takes at least one retriever and one weight for each",
                f"{len(retrievers)} retrievers came with {len(weights or [])} weights",
                "weights of the same number, or none",
            )
        self.collection = retrievers[0].collection
        self._retrievers, self._depth, self._rrf_k = list(retrievers), depth, rrf_k
        self._weights, self._near_duplicates = weights, near_duplicates

    def search(self, text: str, *, k: int = 10, filters: Mapping[str, Any] | None = None) -> list[Hit]:
        """Search for one text."""
        return self.search_many([text], k=k, filters=filters)[0]

    def search_many(
        self, texts: Sequence[str], *, k: int = 10, filters: Mapping[str, Any] | None = None
    ) -> list[list[Hit]]:
        """Return at most `k` hits per text, best first; the score is that of the fusion."""
        depth = max(positive(k), self._depth)
        legs = [retriever.search_many(texts, k=depth, filters=filters) for retriever in self._retrievers]
        return [self._joined(of_one_text)[:k] for of_one_text in zip(*legs, strict=True)]

    def refresh(self, *, progress: Progress | None = None) -> Refreshed:
        """Refresh each retriever."""
        return _all_of([retriever.refresh(progress=progress) for retriever in self._retrievers])

    def rebuild(self, *, progress: Progress | None = None) -> Refreshed:
        """Rebuild each retriever."""
        return _all_of([retriever.rebuild(progress=progress) for retriever in self._retrievers])

    def infos(self) -> list[IndexInfo]:
        """Say what indexes are behind this."""
        return [info for retriever in self._retrievers if hasattr(retriever, "infos") for info in retriever.infos()]

    def _joined(self, legs: Sequence[Sequence[Hit]]) -> list[Hit]:
        hits = fuse(legs, k=self._rrf_k, weights=self._weights)
        return collapse(hits, threshold=self._near_duplicates) if self._near_duplicates else hits


class Hybrid(Fused):
    """Dense and keyword search over one collection, fused; `use = "hybrid"` in `[retrievers.NAME]`.

    `weights` are those of the dense and the keyword leg. The rest: see `Dense`, `Bm25` and `Fused`.
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
        depth: int = 100,
        rrf_k: int = RRF_K,
        weights: list[float] | None = None,
        near_duplicates: float = 0.0,
        fresh_s: float = 1.0,
        workspace_folder: Path | None = None,
        section_name: str = "",
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dense = Dense(
            encoder,
            index,
            store,
            collection=collection,
            rows=rows,
            text=text,
            fresh_s=fresh_s,
            section_name=section_name,
            ticks=ticks,
        )
        lexical = Bm25(
            store,
            collection=collection,
            rows=rows,
            text=text,
            fresh_s=fresh_s,
            workspace_folder=workspace_folder,
            section_name=section_name,
            ticks=ticks,
        )
        super().__init__(
            [self._dense, lexical], depth=depth, rrf_k=rrf_k, weights=weights, near_duplicates=near_duplicates
        )

    def move_to(self, target: IndexFactory, *, progress: Progress | None = None) -> Moved:
        """Copy the vectors of the dense leg into another index; see `Dense.move_to`."""
        return self._dense.move_to(target, progress=progress)


def _all_of(done: Sequence[Refreshed]) -> Refreshed:
    """The legs follow the same rows: a row that both took in is one row."""
    return Refreshed(
        max(one.upserted for one in done), max(one.deleted for one in done), min(one.sequence for one in done)
    )
