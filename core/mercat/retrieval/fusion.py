"""Joining rankings: pure functions over ids and hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
