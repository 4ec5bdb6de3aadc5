"""Joining rankings: pure functions over ids and hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mercat.text import jaccard, shingles
from mercat.values import Hit

RRF_K = 60


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[str]], *, k: int = RRF_K, weights: Sequence[float] | None = None
) -> list[tuple[str, float]]:
    """Score each id by the sum of weight / (k + rank) over the rankings it is in (ranks from 1), best first.

    Equal scores go by the better single rank, then by id. Cormack, Clarke and Büttcher 2009, "Reciprocal Rank Fusion
    outperforms Condorcet and individual Rank Learning Methods", SIGIR; k = 60 is theirs.
    """
    scores: dict[str, float] = {}
    best: dict[str, int] = {}
    for ranking, weight in zip(rankings, weights or [1.0] * len(rankings), strict=True):
        for rank, key in enumerate(dict.fromkeys(ranking), start=1):
            scores[key] = scores.get(key, 0.0) + weight / (k + rank)
            best[key] = min(best.get(key, rank), rank)
    return sorted(scores.items(), key=lambda item: (-item[1], best[item[0]], item[0]))


def fuse(legs: Sequence[Sequence[Hit]], *, k: int = RRF_K, weights: Sequence[float] | None = None) -> list[Hit]:
    """Fuse ranked hits by `reciprocal_rank_fusion`; the score of a hit becomes the fused one."""
    rows = {hit.id: hit for leg in reversed(legs) for hit in leg}
    fused = reciprocal_rank_fusion([[hit.id for hit in leg] for leg in legs], k=k, weights=weights)
    return [replace(rows[key], score=score) for key, score in fused]


@dataclass(frozen=True, slots=True)
class Table:
    """What several rankings say of the hits of one question: `scores` has shape (ids, rankings).

    The ids go by their best single rank, then by id. A ranking that has not returned a hit gives it the least it could
    have: where it returned as many as it was asked for just less than its last score, otherwise 0.
    """

    ids: Sequence[str]
    scores: NDArray[np.float64]

    @classmethod
    def of(cls, legs: Sequence[Sequence[Hit]], *, asked: int) -> Table:
        """Return the table of rankings that were each asked for `asked` hits."""
        best: dict[str, int] = {}
        for leg in legs:
            for rank, hit in enumerate(leg):
                best[hit.id] = min(best.get(hit.id, rank), rank)
        ids = sorted(best, key=lambda key: (best[key], key))
        scores = np.empty((len(ids), len(legs)))
        for column, leg in enumerate(legs):
            least = leg[-1].score if leg else 0.0
            given = {hit.id: hit.score for hit in leg}
            missing = float(np.nextafter(least, -np.inf)) if len(leg) >= asked else min(least, 0.0)
            scores[:, column] = [given.get(key, missing) for key in ids]
        return cls(ids, scores)

    def order(self, weights: Sequence[float]) -> list[tuple[str, float]]:
        """Return ids and weighted sums of their scores, best first; equal sums in the order of the table."""
        sums = self.scores @ np.asarray(weights, dtype=np.float64)
        return [(self.ids[row], float(sums[row])) for row in np.argsort(-sums, kind="stable")]


def fuse_scores(legs: Sequence[Sequence[Hit]], *, weights: Sequence[float], asked: int) -> list[Hit]:
    """Fuse ranked hits by the weighted sums of their scores, which must mean the same for every question.

    Bruch, Gai and Ingber 2023, "An Analysis of Fusion Functions for Hybrid Retrieval": convex combinations keep what
    ranks throw away, how far ahead a hit is. A cosine and a share of a question's weight (`Bm25`) need no scaling for
    it, so a ranking that has found little counts little.
    """
    rows = {hit.id: hit for leg in reversed(legs) for hit in leg}
    return [replace(rows[key], score=score) for key, score in Table.of(legs, asked=asked).order(weights)]


def collapse(hits: Sequence[Hit], *, threshold: float = 0.8) -> list[Hit]:
    """Keep, of hits whose texts are nearly the same, the best one only.

    Nearly the same: the Jaccard overlap of their runs of three words is at or above `threshold`.
    """
    kept: list[tuple[Hit, frozenset[str]]] = []
    for hit in hits:
        runs = shingles(f"{hit.title}\n{hit.text}")
        if not any(jaccard(runs, other) >= threshold for _, other in kept):
            kept.append((hit, runs))
    return [hit for hit, _ in kept]
