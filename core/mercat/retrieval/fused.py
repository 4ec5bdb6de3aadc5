"""Several retrievers as one: their rankings are fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mercat.artifacts import Artifacts
from mercat.artifacts.current import Current
from mercat.errors import ConfigError
from mercat.indexes.base import IndexInfo
from mercat.indexes.checks import positive
from mercat.retrieval.base import Progress, Refreshed, Reranker, Retriever
from mercat.retrieval.fusion import RRF_K, collapse, fuse, fuse_scores
from mercat.retrieval.learned import Learned
from mercat.retrieval.reranking import rerank_hits
from mercat.values import Hit

How = Literal["scores", "ranks"]


class Fused:
    """Asks each retriever for `depth` hits and fuses them.

    `fusion` "ranks" is reciprocal rank fusion with the constant `rrf_k`, for retrievers whose scores say nothing beside
    each other; "scores" adds the scores up. `weights`: one per retriever, all 1 by default. With an `artifact`, made by
    the recipe `fusion`, the weights are those that its current version has learned, and scores are added. With
    `near_duplicates` above 0, of hits whose texts overlap that much (Jaccard, 0 to 1) only the best is kept. A
    `reranker` then reads the first `rerank` hits with the question and puts them in its own order. Raises ConfigError
    without retrievers, for weights of another number, and for an artifact beside weights or ranks.
    """

    def __init__(
        self,
        retrievers: Sequence[Retriever],
        *,
        depth: int = 100,
        fusion: How = "ranks",
        rrf_k: int = RRF_K,
        weights: Sequence[float] | None = None,
        artifact: str = "",
        artifacts: Artifacts | None = None,
        near_duplicates: float = 0.0,
        reranker: Reranker | None = None,
        rerank: int = 20,
    ) -> None:
        _check(retrievers, fusion, weights, artifact)
        self.collection, self.depth = retrievers[0].collection, depth
        self.retrievers, self._fusion, self._rrf_k = list(retrievers), fusion, rrf_k
        self._weights, self._near_duplicates = weights, near_duplicates
        self._reranker, self._rerank = reranker, positive(rerank)
        self._learned: Current[Learned] | None = None
        if artifact:
            if artifacts is None:
                found = "No artifacts were handed in"
                raise ConfigError(f"artifact = '{artifact}'", found, "artifacts = workspace.artifacts")
            self._learned = Current(artifacts, artifact, load=lambda found: Learned.of(found, spaces=self.spaces()))

    @property
    def learned(self) -> bool:
        """Whether the weights are those of an artifact, which fit the scores of one encoder alone."""
        return self._learned is not None

    def search(self, text: str, *, k: int = 10, filters: Mapping[str, Any] | None = None) -> list[Hit]:
        """Search for one text."""
        return self.search_many([text], k=k, filters=filters)[0]

    def search_many(
        self, texts: Sequence[str], *, k: int = 10, filters: Mapping[str, Any] | None = None
    ) -> list[list[Hit]]:
        """Return at most `k` hits per text, best first; the score is that of the fusion, or of the reranker."""
        asked = max(positive(k), self.depth)
        found = [self._joined(legs, asked) for legs in self.legs_many(texts, k=asked, filters=filters)]
        if self._reranker is None:
            return [hits[:k] for hits in found]
        pairs = zip(texts, found, strict=True)
        return [rerank_hits(self._reranker, text, hits, first=self._rerank)[:k] for text, hits in pairs]

    def legs_many(
        self, texts: Sequence[str], *, k: int, filters: Mapping[str, Any] | None = None
    ) -> list[list[list[Hit]]]:
        """Return for each text what each retriever alone finds, at most `k` hits."""
        legs = [retriever.search_many(texts, k=k, filters=filters) for retriever in self.retrievers]
        return [list(of_one_text) for of_one_text in zip(*legs, strict=True)]

    def spaces(self) -> list[str]:
        """Return what each retriever's scores are made by: the fingerprint of its encoder, how its texts are cut."""
        return [
            retriever.infos()[0].fingerprint if hasattr(retriever, "infos") else type(retriever).__name__
            for retriever in self.retrievers
        ]

    def reload(self) -> bool:
        """Take over the current version of the learned weights if it is another one; say whether it was."""
        return self._learned is not None and self._learned.reload()

    def refresh(self, *, progress: Progress | None = None) -> Refreshed:
        """Refresh each retriever."""
        return _all_of([retriever.refresh(progress=progress) for retriever in self.retrievers])

    def rebuild(self, *, progress: Progress | None = None) -> Refreshed:
        """Rebuild each retriever."""
        return _all_of([retriever.rebuild(progress=progress) for retriever in self.retrievers])

    def infos(self) -> list[IndexInfo]:
        """Say what indexes are behind this."""
        return [info for retriever in self.retrievers if hasattr(retriever, "infos") for info in retriever.infos()]

    def _joined(self, legs: Sequence[Sequence[Hit]], asked: int) -> list[Hit]:
        weights = self._learned.get().weights if self._learned else self._weights
        if self._learned or self._fusion == "scores":
            hits = fuse_scores(legs, weights=weights or [1.0] * len(legs), asked=asked)
        else:
            hits = fuse(legs, k=self._rrf_k, weights=weights)
        return collapse(hits, threshold=self._near_duplicates) if self._near_duplicates else hits


def _check(retrievers: Sequence[Retriever], fusion: How, weights: Sequence[float] | None, artifact: str) -> None:
    if not retrievers or (weights is not None and len(weights) != len(retrievers)):
        raise ConfigError(
            "A fused retriever takes at least one retriever and one weight for each",
            f"{len(retrievers)} retrievers came with {len(weights or [])} weights",
            "weights of the same number, or none",
        )
    if fusion not in ("scores", "ranks"):
        raise ConfigError(f"fusion = '{fusion}'", "Known: scores, ranks", "fusion = 'scores'")
    if artifact and (weights is not None or fusion == "ranks"):
        raise ConfigError(
            f"The weights are those of the artifact '{artifact}'",
            "Beside it stand weights of their own" if weights is not None else "Ranks are fused, not scores",
            "artifact alone, with fusion = 'scores'",
        )


def _all_of(done: Sequence[Refreshed]) -> Refreshed:
    """The legs follow the same rows: a row that both took in is one row."""
    return Refreshed(
        max(one.upserted for one in done), max(one.deleted for one in done), min(one.sequence for one in done)
    )
