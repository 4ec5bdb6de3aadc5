"""The weights under which several rankings together put the right rows first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mercat.retrieval.fusion import Table

_STEPS = {1: 1, 2: 100, 3: 20, 4: 10}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as the rankings answer it: their table, the ids that are right, and each ranking's own order."""

    table: Table
    right: frozenset[str]
    legs: Sequence[Sequence[str]]

    def gains(self, weights: Sequence[float]) -> list[float]:
        """Return 1 for each right row and 0 for each wrong one, in the order of the weighted sums."""
        return [float(key in self.right) for key, _ in self.table.order(weights)]

    def leg_gains(self, leg: int) -> list[float]:
        """Return the same for one ranking alone."""
        return [float(key in self.right) for key in self.legs[leg]]


def fit_weights(asked: Sequence[Asked], *, k: int) -> list[float]:
    """Return the weights, which sum to 1, with the best mean nDCG@k over the questions.

    All weights of a grid are tried, each ranking alone among them, so that the result is never below the best of them,
    but for hits with equal scores. Of several that are best the one nearest to their mean is taken: it is surest to
    stay good.
    """
    grid = np.array(list(_simplex(len(asked[0].legs))))
    found = np.mean([_ndcg(one, grid, k) for one in asked], axis=0)
    best = grid[found >= found.max() - 1e-12]
    middle = best[np.linalg.norm(best - best.mean(axis=0), axis=1).argmin()]
    return [float(weight) for weight in middle]


def _simplex(legs: int) -> Iterator[list[float]]:
    """Yield all weights of a grid that sum to 1."""
    steps = _STEPS.get(legs, 5)

    def parts(left: int, of: int) -> Iterator[list[int]]:
        if of == 1:
            yield [left]
            return
        for first in range(left + 1):
            for rest in parts(left - first, of - 1):
                yield [first, *rest]

    for whole in parts(steps, legs):
        yield [part / steps for part in whole]


def _ndcg(asked: Asked, grid: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return nDCG@k of one question for each weighting, shape (weightings,)."""
    right = np.array([key in asked.right for key in asked.table.ids], dtype=np.float64)
    order = np.argsort(-(asked.table.scores @ grid.T), axis=0, kind="stable")[:k]
    discount = 1 / np.log2(np.arange(2, k + 2))
    reached = discount[: len(order)] @ right[order] if len(right) else np.zeros(len(grid))
    return np.asarray(reached / discount[: len(asked.right)].sum())
