"""When to say nothing: error against coverage, and the threshold that keeps the error below a bound.

El-Yaniv and Wiener 2010, "On the Foundations of Noise-free Selective Classification"; Geifman and El-Yaniv 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any] | Sequence[float]
Flags = NDArray[np.bool_] | Sequence[bool]

ALWAYS = 1.01
"""A threshold that no probability reaches: abstain on everything."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A threshold and what it gave on the rows it was chosen on. `reached` is false when none met the bound."""

    threshold: float
    coverage: float
    error: float
    reached: bool


def risk_coverage(confidences: Floats, correct: Flags) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (coverage, risk), each of shape (distinct confidences,), from the strictest threshold to none.

    Rows of equal confidence are kept or dropped together.
    """
    _, coverage, risk = _curve(confidences, correct)
    return coverage, risk


def aurc(confidences: Floats, correct: Flags) -> float:
    """Return the area under the risk-coverage curve: mean error over all coverages; lower is better.

    Rows of equal confidence count as if their order were random.
    """
    confident, right = _arrays(confidences, correct)
    if not len(confident):
        return float("nan")
    _, inverse, sizes = np.unique(-confident, return_inverse=True, return_counts=True)
    mean_wrong = np.bincount(inverse, weights=1.0 - right) / sizes
    wrong = np.cumsum(np.repeat(mean_wrong, sizes))
    return float((wrong / np.arange(1, len(wrong) + 1)).mean())


def choose_threshold(confidences: Floats, correct: Flags, *, max_error: float) -> Choice:
    """Return the smallest threshold whose kept rows err at most `max_error`: the most coverage within the bound.

    When none does, the choice is to abstain always, and says so.
    """
    steps, coverage, risk = _curve(confidences, correct)
    within = np.flatnonzero(risk <= max_error)
    if not len(within):
        return Choice(ALWAYS, 0.0, 0.0, reached=False)
    last = within[-1]
    # a threshold between this confidence and the next lower one survives the rounding of float32
    lower = steps[last + 1] if last + 1 < len(steps) else 0.0
    threshold = 0.0 if last + 1 == len(steps) else (steps[last] + lower) / 2
    return Choice(float(threshold), float(coverage[last]), float(risk[last]), reached=True)


def threshold_for(
    scores: NDArray[np.float32], targets: NDArray[np.intp], *, max_error: float
) -> tuple[float, tuple[str, ...]]:
    """Return `choose_threshold`'s threshold for scores of shape (rows, labels), and what a person should know of it.

    `targets` has shape (rows,): the true columns, -1 for a label without one, which is always an error.
    """
    choice = choose_threshold(scores.max(axis=1), scores.argmax(axis=1) == targets, max_error=max_error)
    if choice.reached:
        return choice.threshold, ()
    return choice.threshold, (f"No threshold keeps the error within {max_error}: it abstains on everything",)


def _curve(confidences: Floats, correct: Flags) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    confident, right = _arrays(confidences, correct)
    order = np.argsort(-confident, kind="stable")
    confident, wrong = confident[order], np.cumsum(1.0 - right[order])
    ends = np.flatnonzero(np.append(np.diff(confident) != 0, True)) if len(confident) else np.array([], dtype=int)
    kept = ends + 1.0
    return confident[ends], kept / max(len(confident), 1), wrong[ends] / kept


def _arrays(confidences: Floats, correct: Flags) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.float64)
