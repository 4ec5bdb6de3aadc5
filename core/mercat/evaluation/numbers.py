"""Figures of predicted numbers, each with its interval: how far off they are, and whether their order is right.

Spearman 1904, "The Proof and Measurement of Association between Two Things" (ties share their mean rank).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.evaluation.base import Metric
from mercat.evaluation.bootstrap import Weights, of_rows

Numbers = NDArray[Any] | Sequence[float]


def regression(true: Numbers, predicted: Numbers, *, seed: int = 0, n: int = 1000) -> dict[str, Metric]:
    """Return mse, mae, r2 and spearman of a number per row.

    r2 is the share of the variance that is explained, below 0 where the mean would do better; spearman lies between -1
    and 1. Both are NaN where all true numbers are the same.
    """
    truth, found = _pair(true, predicted)
    return {name: of_rows(figure(truth, found), len(truth), seed=seed, n=n) for name, figure in _FIGURES.items()}


def regression_differences(
    true: Numbers, ours: Numbers, theirs: Numbers, *, seed: int = 0, n: int = 1000
) -> dict[str, Metric]:
    """Return ours minus theirs for each figure, paired: the same rows are drawn for both."""
    truth, left = _pair(true, ours)
    _, right = _pair(true, theirs)

    def between(name: str) -> Metric:
        mine, other = _FIGURES[name](truth, left), _FIGURES[name](truth, right)
        return of_rows(lambda weights: mine(weights) - other(weights), len(truth), seed=seed, n=n)

    return {name: between(name) for name in _FIGURES}


def spearman(true: Numbers, predicted: Numbers) -> float:
    """Return the correlation of ranks; 0 where one side has no order at all."""
    truth, found = _pair(true, predicted)
    if not len(truth):
        return 0.0
    return float(np.nan_to_num(_spearman(truth, found)(np.ones((1, len(truth))))[0]))


def _pair(true: Numbers, predicted: Numbers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    truth, found = np.asarray(true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if truth.shape != found.shape or truth.ndim != 1:
        raise ValueError(f"one number per row: {truth.shape} and {found.shape} differ")
    return truth, found


Figure = Callable[[Weights], NDArray[Any]]


def _mean(values: NDArray[np.float64]) -> Figure:
    return lambda weights: np.asarray(weights @ values / weights.sum(axis=1))


def _r2(truth: NDArray[np.float64], found: NDArray[np.float64]) -> Figure:
    def figure(weights: Weights) -> NDArray[Any]:
        total = weights.sum(axis=1)
        means = weights @ truth / total
        spread = weights @ truth**2 / total - means**2
        wrong = weights @ (truth - found) ** 2 / total
        return np.asarray(1 - np.divide(wrong, spread, out=np.full_like(wrong, np.nan), where=spread > 1e-12))

    return figure


def _spearman(truth: NDArray[np.float64], found: NDArray[np.float64]) -> Figure:
    left, right = _ranks(truth), _ranks(found)

    def figure(weights: Weights) -> NDArray[Any]:
        return _correlation(weights, left(weights), right(weights))

    return figure


def _ranks(values: NDArray[np.float64]) -> Callable[[Weights], NDArray[np.float64]]:
    """Return a function from weights to ranks, shape (resamples, rows), that counts a row as often as it was drawn."""
    _, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))

    def ranks(weights: Weights) -> NDArray[np.float64]:
        of_value = np.add.reduceat(weights[:, order], starts, axis=1)
        return np.asarray((np.cumsum(of_value, axis=1) - of_value / 2)[:, place])

    return ranks


def _correlation(weights: Weights, left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[Any]:
    total = weights.sum(axis=1, keepdims=True)
    a = left - (weights * left).sum(axis=1, keepdims=True) / total
    b = right - (weights * right).sum(axis=1, keepdims=True) / total
    spread = np.sqrt((weights * a**2).sum(axis=1) * (weights * b**2).sum(axis=1))
    together = (weights * a * b).sum(axis=1)
    return np.asarray(np.divide(together, spread, out=np.full(len(spread), np.nan), where=spread > 1e-12))


_FIGURES: dict[str, Callable[[NDArray[np.float64], NDArray[np.float64]], Figure]] = {
    "mse": lambda truth, found: _mean((truth - found) ** 2),
    "mae": lambda truth, found: _mean(np.abs(truth - found)),
    "r2": _r2,
    "spearman": _spearman,
}
