"""How sure a figure is: percentile intervals from resampled rows, or from resampled groups of rows.

Efron and Tibshirani 1993, "An Introduction to the Bootstrap"; paired differences after Koehn 2004, "Statistical
Significance Tests for Machine Translation Evaluation".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.evaluation.base import Metric

Values = NDArray[Any] | Sequence[float]
Weights = NDArray[np.float64]
_LEVELS = (2.5, 97.5)
_AT_ONCE = 4_000_000  # resampled cells held in memory


def interval(values: Values, *, seed: int = 0, n: int = 1000, groups: Sequence[Hashable] | None = None) -> Metric:
    """Return the mean of a figure per row with its 95 % interval from `n` resamples.

    With `groups`, one per row, whole groups are drawn: rows of one conversation or customer are not independent.
    """
    rows = np.asarray(values, dtype=np.float64)
    return of_rows(lambda weights: weights @ rows / weights.sum(axis=1), len(rows), seed=seed, n=n, groups=groups)


def paired(a: Values, b: Values, *, seed: int = 0, n: int = 1000, groups: Sequence[Hashable] | None = None) -> Metric:
    """Return the mean of a - b, both of the same rows in the same order. An interval without 0 is a difference."""
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.shape != right.shape:
        raise ValueError(f"paired figures are of the same rows: {left.shape} and {right.shape} differ")
    return interval(left - right, seed=seed, n=n, groups=groups)


def of_rows(
    figure: Callable[[Weights], NDArray[Any]],
    rows: int,
    *,
    seed: int = 0,
    n: int = 1000,
    groups: Sequence[Hashable] | None = None,
) -> Metric:
    """Return the interval of any figure that can be computed from how often each row was drawn.

    `figure` takes weights of shape (resamples, rows) and returns shape (resamples,); weights of one are the rows as
    they are. No rows give a Metric of NaN.
    """
    if rows == 0:
        return Metric(float("nan"), float("nan"), float("nan"), 0)
    value = float(figure(np.ones((1, rows)))[0])
    rng = np.random.default_rng(seed)
    of_row, size = _numbered(groups, rows)
    at_once = max(1, _AT_ONCE // rows)
    found = []
    for start in range(0, n, at_once):
        drawn = _draws(rng, min(at_once, n - start), size)
        found.append(figure(drawn if of_row is None else drawn[:, of_row]))
    resampled = np.concatenate(found)
    resampled = resampled[np.isfinite(resampled)]
    if not len(resampled):
        return Metric(value, float("nan"), float("nan"), rows)
    low, high = np.percentile(resampled, _LEVELS)
    return Metric(value, float(low), float(high), rows)


def _numbered(groups: Sequence[Hashable] | None, rows: int) -> tuple[NDArray[np.intp] | None, int]:
    if groups is None:
        return None, rows
    if len(groups) != rows:
        raise ValueError(f"one group per row: {len(groups)} groups for {rows} rows")
    numbers: dict[Hashable, int] = {}
    of_row = np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.intp)
    return of_row, len(numbers)


def _draws(rng: np.random.Generator, resamples: int, size: int) -> Weights:
    """Return how often each of `size` units was drawn in each resample, shape (resamples, size)."""
    drawn = rng.integers(size, size=(resamples, size))
    flat = (drawn + np.arange(resamples)[:, None] * size).ravel()
    return np.bincount(flat, minlength=resamples * size).reshape(resamples, size).astype(np.float64)
