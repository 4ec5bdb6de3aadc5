"""Figures of rankings. A ranking is the gains of its hits in order, with what there was to find.

`gains` holds one sequence per query: the gain (0 for a wrong hit, 1 or a grade for a right one) of hit 1, 2, …. `ideal`
holds the gains of all rows that are right for the query, in any order; what was never returned counts there.
Järvelin and Kekäläinen 2002 (nDCG, gain over log2 of rank + 1). Queries with nothing to find are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from mercat.evaluation.base import Metric
from mercat.evaluation.bootstrap import interval

Gains = Sequence[Sequence[float]]


def ndcg(gains: Gains, ideal: Gains, *, k: int) -> list[float]:
    """Return nDCG@k per query, in [0, 1]."""
    return _each(gains, ideal, lambda row, best: _dcg(row[:k]) / _dcg(sorted(best, reverse=True)[:k]))


def recall(gains: Gains, ideal: Gains, *, k: int) -> list[float]:
    """Return per query the share of its right rows among the first k."""
    return _each(gains, ideal, lambda row, best: _right(row[:k]) / _right(best))


def mrr(gains: Gains, ideal: Gains, *, k: int) -> list[float]:
    """Return per query one over the rank of the first right hit, 0 when it is not among the first k."""
    return _each(
        gains, ideal, lambda row, _: next((1.0 / rank for rank, gain in enumerate(row[:k], 1) if gain > 0), 0.0)
    )


def average_precision(gains: Gains, ideal: Gains, *, k: int) -> list[float]:
    """Return per query the mean precision at its right hits among the first k, over min(k, right rows)."""
    return _each(gains, ideal, lambda row, best: _precision_sum(row[:k]) / min(k, _right(best)))


def ranking(
    gains: Gains,
    ideal: Gains,
    *,
    k: int = 10,
    seed: int = 0,
    n: int = 1000,
    groups: Sequence[Hashable] | None = None,
) -> dict[str, Metric]:
    """Return ndcg, recall, mrr and map at k with intervals over queries, under names such as "ndcg@10"."""
    if groups is not None:
        groups = [group for group, best in zip(groups, ideal, strict=True) if _right(best)]
    figures = {"ndcg": ndcg, "recall": recall, "mrr": mrr, "map": average_precision}
    return {
        f"{name}@{k}": interval(figure(gains, ideal, k=k), seed=seed, n=n, groups=groups)
        for name, figure in figures.items()
    }


def _each(gains: Gains, ideal: Gains, figure: Callable[[Sequence[float], Sequence[float]], float]) -> list[float]:
    if len(gains) != len(ideal):
        raise ValueError(f"one ideal per ranking: {len(ideal)} for {len(gains)} rankings")
    return [figure(row, best) for row, best in zip(gains, ideal, strict=True) if _right(best)]


def _right(gains: Sequence[float]) -> int:
    return sum(gain > 0 for gain in gains)


def _dcg(gains: Sequence[float]) -> float:
    return float((np.asarray(gains, dtype=np.float64) / np.log2(np.arange(2, len(gains) + 2))).sum())


def _precision_sum(gains: Sequence[float]) -> float:
    found, total = 0, 0.0
    for rank, gain in enumerate(gains, 1):
        if gain > 0:
            found += 1
            total += found / rank
    return total
