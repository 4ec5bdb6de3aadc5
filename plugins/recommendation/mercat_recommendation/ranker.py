"""The blend: one weight per feature, learned so that what people took next scores above what they left.

A conditional logit (McFadden 1974; the "listwise" loss of Cao et al. 2007) over the items that each user had not seen,
with a sample of those they left, corrected for the sampling. Weights are plain numbers that a person can read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mercat_recommendation.features import NAMES, SHARED

Row = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Choice:
    """One user at one time.

    `features` has shape (shown, NAMES); `taken` (the share of each item in what was taken, sums to 1) and `offset` (log
    of how many items left alone each one stands for) have shape (shown,).
    """

    features: Row
    taken: NDArray[np.float64]
    offset: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Blend:
    """Weights by feature. `scores` is linear in the features."""

    weights: Row
    names: tuple[str, ...] = NAMES

    def scores(self, features: Row) -> Row:
        """Return shape (items,) from shape (items, NAMES)."""
        return np.asarray(features @ self.weights, dtype=np.float32)

    def discovery(self, features: Row) -> Row:
        """Return shape (items,): the scores without what is the same for everybody."""
        own = self.weights.copy()
        own[: len(SHARED)] = 0.0
        if not own.any():
            own[len(SHARED) :] = 1.0
        return np.asarray(features @ own, dtype=np.float32)

    def parts(self, features: Row) -> dict[str, float]:
        """Return the share of one item's score by feature; `features` has shape (NAMES,)."""
        return dict(zip(self.names, (features * self.weights).tolist(), strict=True))


def popularity_blend() -> Blend:
    """Return the baseline as a blend: popular in the last 7 days; ties go to what was popular in longer windows."""
    weights = {"popular_7d": 1.0, "popular_14d": 1e-3, "popular_all": 1e-4}
    return Blend(np.array([weights.get(name, 0.0) for name in NAMES], dtype=np.float32))


def choice(
    features: Row, open_: NDArray[np.bool_], taken: NDArray[np.bool_], *, left: int, rng: np.random.Generator
) -> Choice:
    """Sample up to `left` items that were open to a user and not taken, beside all that were taken."""
    took = np.flatnonzero(taken)
    rest = np.flatnonzero(open_ & ~taken)
    some = rng.choice(rest, min(left, len(rest)), replace=False) if len(rest) else rest
    offset = np.log(len(rest) / len(some)) if len(some) else 0.0
    return Choice(
        features[np.concatenate([took, some])],
        np.concatenate([np.full(len(took), 1.0 / len(took)), np.zeros(len(some))]),
        np.concatenate([np.zeros(len(took)), np.full(len(some), offset)]),
    )


def fit_blend(choices: Sequence[Choice], *, strength: float, use: Sequence[str] = NAMES, steps: int = 50) -> Blend:
    """Fit by Newton's method with halved steps; `strength` is the L2 penalty, features outside `use` get weight 0."""
    columns = [NAMES.index(name) for name in use]
    problem = _Problem.of(choices, columns, strength)
    weights = np.zeros(len(columns))
    loss, slope, curve = problem.look(weights)
    for _ in range(steps):
        step = np.linalg.solve(curve, slope)
        length = 1.0
        while (new := problem.look(weights - length * step))[0] > loss and length > 1e-3:
            length /= 2
        done = loss - new[0] < 1e-7
        if new[0] < loss:
            weights, (loss, slope, curve) = weights - length * step, new
        if done:
            break
    found = np.zeros(len(NAMES), dtype=np.float32)
    found[columns] = weights
    return Blend(found)


@dataclass(frozen=True, slots=True)
class _Problem:
    """The mean loss of many choices with its slope and curvature.

    The rows of all choices stand below each other: `features` has shape (rows, columns), `taken`, `offset` and `groups`
    (the number of a row's choice) shape (rows,); `starts` is where each choice begins.
    """

    features: NDArray[np.float64]
    taken: NDArray[np.float64]
    offset: NDArray[np.float64]
    starts: NDArray[np.int64]
    groups: NDArray[np.int64]
    strength: float

    @classmethod
    def of(cls, choices: Sequence[Choice], columns: Sequence[int], strength: float) -> _Problem:
        starts = np.cumsum([0, *(len(each.taken) for each in choices)])
        return cls(
            np.concatenate([each.features[:, columns] for each in choices]).astype(np.float64),
            np.concatenate([each.taken for each in choices]),
            np.concatenate([each.offset for each in choices]),
            starts[:-1],
            np.repeat(np.arange(len(choices)), np.diff(starts)),
            strength,
        )

    def look(self, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Return the loss at some weights, its slope, shape (columns,), and its curvature, (columns, columns)."""
        count = len(self.starts)
        scores = self.features @ weights + self.offset
        scores -= np.maximum.reduceat(scores, self.starts)[self.groups]
        raised = np.exp(scores)
        total = np.add.reduceat(raised, self.starts)
        chances = raised / total[self.groups]
        loss = float(np.log(total).sum() - self.taken @ scores) / count + self.strength * float(weights @ weights)
        slope = self.features.T @ (chances - self.taken) / count + 2 * self.strength * weights
        weighted = self.features * chances[:, None]
        means = np.add.reduceat(weighted, self.starts, axis=0)
        curve = (weighted.T @ self.features - means.T @ means) / count
        curve[np.diag_indices(len(curve))] += 2 * self.strength
        return loss, slope, curve
