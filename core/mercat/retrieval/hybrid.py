"""Dense and keyword search as one retriever."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mercat.artifacts import Artifacts
from mercat.encoders.base import Encoder
from mercat.indexes.base import IndexFactory
from mercat.retrieval.base import Reranker
from mercat.retrieval.dense import Dense
from mercat.retrieval.fused import Fused, How
from mercat.retrieval.fusion import RRF_K
from mercat.retrieval.highlights import highlighted
from mercat.retrieval.lexical import Bm25
from mercat.retrieval.rows import RowKind
from mercat.retrieval.serving import Serving
from mercat.store import Store
from mercat.values import Hit

WEIGHTS = (1.0, 0.6)
"""Of a cosine and of a share of the question's weight. Chosen on SciFact's training queries, half of StackFAQ's threads
and CMRC 2018's trial questions, where it is above either alone."""


class Hybrid(Fused):
    """Dense and keyword search over one collection, fused; `use = "hybrid"` in `[retrievers.NAME]`.

    By default the scores of both are added up, those of the keywords with the weight 0.6: a cosine says how near a text
    is, and a share of the question's weight how much of it the text covers, so words that cover little count little.
    `weights` are those of the dense and the keyword leg, `artifact` names learned ones. With `highlight` the hits say
    what in their text was found. `dense` is the leg that has the vectors. The rest: see `Dense`, `Bm25` and `Fused`.
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
        stems: bool = True,
        stopwords: bool = True,
        depth: int = 100,
        fusion: How = "scores",
        rrf_k: int = RRF_K,
        weights: list[float] | None = None,
        artifact: str = "",
        artifacts: Artifacts | None = None,
        near_duplicates: float = 0.0,
        reranker: Reranker | None = None,
        rerank: int = 20,
        highlight: bool = False,
        fresh_s: float = 1.0,
        serving: Serving | None = None,
        workspace_folder: Path | None = None,
        section_name: str = "",
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stems, self._highlight = stems, highlight
        self.dense = Dense(
            encoder,
            index,
            store,
            collection=collection,
            rows=rows,
            text=text,
            fresh_s=fresh_s,
            serving=serving,
            section_name=section_name,
            ticks=ticks,
        )
        lexical = Bm25(
            store,
            collection=collection,
            rows=rows,
            text=text,
            stems=stems,
            stopwords=stopwords,
            fresh_s=fresh_s,
            workspace_folder=workspace_folder,
            section_name=section_name,
            ticks=ticks,
        )
        if weights is None and fusion == "scores" and not artifact:
            weights = list(WEIGHTS)
        super().__init__(
            [self.dense, lexical],
            depth=depth,
            fusion=fusion,
            rrf_k=rrf_k,
            weights=weights,
            artifact=artifact,
            artifacts=artifacts,
            near_duplicates=near_duplicates,
            reranker=reranker,
            rerank=rerank,
        )

    def search_many(
        self, texts: Sequence[str], *, k: int = 10, filters: Mapping[str, Any] | None = None
    ) -> list[list[Hit]]:
        """Return at most `k` hits per text, best first; see `Fused.search_many`."""
        found = super().search_many(texts, k=k, filters=filters)
        return highlighted(texts, found, stems=self._stems, encoder=self.dense.encoder) if self._highlight else found
