"""How far two samples lie apart, and how often that happens by chance: the rows of both are shuffled among them.

Population stability index after Siddiqi 2006, "Credit Risk Scorecards"; Kolmogorov-Smirnov; maximum mean discrepancy
after Gretton et al. 2012, "A Kernel Two-Sample Test", https://jmlr.org/papers/v13/gretton12a.html; a classifier that
tells the samples apart after Lopez-Paz and Oquab 2017, https://arxiv.org/abs/1610.06545.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SHUFFLES = 500
_FOLDS = 5
_RIDGE = 1.0
_SMOOTH = 0.5  # rows added to each share: one that is empty on one side must not make the index infinite


@dataclass(frozen=True, slots=True)
class Shift:
    """How far two samples lie apart, by a figure that is 0 for the same.

    `p` is the share of shuffles that come as far, `by_chance` what one of twenty exceeds. Of few rows it is large.
    """

    value: float
    p: float
    by_chance: float


def label_shift(before: Sequence[str], now: Sequence[str], *, seed: int = 0) -> Shift:
    """Return the population stability index of two lists of labels; 0.1 is usually called some, 0.25 much."""
    names = sorted({*before, *now})
    number = {name: place for place, name in enumerate(names)}
    table = np.zeros((len(before) + len(now), len(names)))
    table[np.arange(len(table)), [number[label] for label in [*before, *now]]] = 1.0
    members = _members(len(before), len(now), seed)
    one, two = (_shares(each.astype(np.float64) @ table) for each in (members, ~members))
    return _shift(((one - two) * np.log(one / two)).sum(axis=1))


def value_shift(before: Floats, now: Floats, *, seed: int = 0) -> Shift:
    """Return the largest gap between the cumulative shares of two samples of numbers, each of shape (rows,)."""
    values = np.concatenate([before, now])
    order = np.argsort(values, kind="stable")
    last = np.append(np.diff(values[order]) > 0, True)  # of equal values only the last one counts
    members = _members(len(before), len(now), seed)[:, order]
    gaps = members.cumsum(axis=1) / len(before) - (~members).cumsum(axis=1) / len(now)
    return _shift(np.abs(gaps[:, last]).max(axis=1))


def mean_shift(before: Floats, now: Floats, *, seed: int = 0) -> Shift:
    """Return how much larger the mean of `now` is, either way; each sample has shape (rows,)."""
    values = np.concatenate([before, now])
    members = _members(len(before), len(now), seed)
    return _shift(np.abs(members @ values / len(before) - ~members @ values / len(now)))


def vector_shift(before: Floats, now: Floats, *, seed: int = 0) -> Shift:
    """Return the squared maximum mean discrepancy of two samples of vectors, each of shape (rows, dimensions).

    The kernel is Gaussian, as wide as the median distance.
    """
    rows = np.concatenate([before, now]).astype(np.float64)
    squares = (rows**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2 * rows @ rows.T, 0.0)
    width = float(np.median(distances[np.triu_indices(len(rows), 1)])) or 1.0
    kernel = np.exp(-distances / (2 * width))
    members = _members(len(before), len(now), seed)
    weights = members / len(before) - ~members / len(now)
    return _shift((weights @ kernel * weights).sum(axis=1))


def told_apart(before: Floats, now: Floats, *, seed: int = 0) -> tuple[float, Floats]:
    """Let ridge regression learn which sample a vector is of; return (AUROC, scores of the rows of `now`).

    Each row is scored by a fit that has not seen it. AUROC is the chance that a row of `now` scores above one of
    `before`: 0.5 where nothing tells them apart. The samples have shape (rows, dimensions), the scores (rows,).
    """
    rows = np.concatenate([before, now]).astype(np.float64)
    sides = np.concatenate([np.zeros(len(before)), np.ones(len(now))])
    fold = np.random.default_rng(seed).permutation(len(rows)) % _FOLDS
    scores = np.zeros(len(rows))
    for held in range(_FOLDS):
        learn = fold != held
        middle, weight = rows[learn].mean(axis=0), np.where(sides[learn] == 1, 0.5 / len(now), 0.5 / len(before))
        centred = rows[learn] - middle
        ridge = centred.T @ (centred * weight[:, None]) + _RIDGE / len(rows) * np.eye(rows.shape[1])
        scores[~learn] = (rows[~learn] - middle) @ np.linalg.solve(ridge, centred.T @ (weight * (2 * sides[learn] - 1)))
    return _auroc(scores[: len(before)], scores[len(before) :]), scores[len(before) :]


def flat(before: Floats, now: Floats) -> tuple[Floats, Floats]:
    """Return both samples on the plane along which they spread most, each of shape (rows, 2)."""
    rows = np.concatenate([before, now]).astype(np.float64)
    centred = rows - rows.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    plane = centred @ axes[:, ::-1][:, :2]
    if plane.shape[1] < 2:
        plane = np.column_stack([plane, np.zeros(len(plane))])
    return plane[: len(before)], plane[len(before) :]


def _members(before: int, now: int, seed: int) -> NDArray[np.bool_]:
    """Return which rows count as `before`: first as they are, then shuffled. The shape is (1 + shuffles, rows)."""
    random = np.random.default_rng(seed)
    found = np.zeros((SHUFFLES + 1, before + now), dtype=bool)
    found[:, :before] = True
    return np.concatenate([found[:1], random.permuted(found[1:], axis=1)])


def _shift(figures: Floats) -> Shift:
    value, shuffled = float(figures[0]), figures[1:]
    p = (1 + int((shuffled >= value - 1e-12).sum())) / (1 + len(shuffled))
    return Shift(value, p, float(np.percentile(shuffled, 95)))


def _shares(counts: Floats) -> Floats:
    padded = counts + _SMOOTH
    return np.asarray(padded / padded.sum(axis=1, keepdims=True))


def _auroc(low: Floats, high: Floats) -> float:
    ordered = np.sort(low)
    below = np.searchsorted(ordered, high, side="left") + np.searchsorted(ordered, high, side="right")
    return float(below.mean() / (2 * len(low)))
