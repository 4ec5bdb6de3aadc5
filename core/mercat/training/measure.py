"""Figures of a classifier with their bootstrap intervals: accuracy, macro F1, calibration, coverage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mercat.evaluation.base import Metric
from mercat.heads import ece

_DRAWS = 1000
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Guesses:
    """What a classifier said of some rows. Numbers stand for labels in `names`; a true label it lacks has one too."""

    names: tuple[str, ...]
    true: Rows
    guessed: Rows
    confidence: NDArray[np.float32]
    threshold: float = 0.0

    @classmethod
    def of(
        cls,
        scores: NDArray[np.float32],
        true: Sequence[str],
        labels: Sequence[str],
        *,
        names: Sequence[str] = (),
        threshold: float = 0.0,
    ) -> Guesses:
        """Take scores of shape (rows, labels) and the true label of each row; `names` covers both."""
        names = names or (*labels, *sorted(set(true) - set(labels)))
        number = {name: at for at, name in enumerate(names)}
        return cls(
            tuple(names),
            np.array([number[name] for name in true], dtype=np.int64),
            np.array([number[name] for name in labels], dtype=np.int64)[scores.argmax(axis=1)],
            scores.max(axis=1),
            threshold,
        )

    def only(self, rows: NDArray[np.bool_]) -> Guesses:
        """Return the guesses of some rows."""
        return replace(self, true=self.true[rows], guessed=self.guessed[rows], confidence=self.confidence[rows])

    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.true == self.guessed)


def accuracy(guesses: Guesses, rows: Rows) -> float:
    return float(guesses.right()[rows].mean())


def macro_f1(guesses: Guesses, rows: Rows) -> float:
    """Return the mean F1 over the labels that are true or guessed somewhere."""
    return mean_f1(guesses.true[rows], guesses.guessed[rows], len(guesses.names))


def mean_f1(true: Rows, guessed: Rows, labels: int) -> float:
    """Return the mean F1 over the labels, numbers below `labels`, that are true or guessed somewhere."""
    hits = np.bincount(true[true == guessed], minlength=labels)
    total = np.bincount(true, minlength=labels) + np.bincount(guessed, minlength=labels)
    return float((2 * hits[total > 0] / total[total > 0]).mean())


def calibration_error(guesses: Guesses, rows: Rows) -> float:
    return ece(guesses.confidence[rows], guesses.right()[rows])


def coverage(guesses: Guesses, rows: Rows) -> float:
    """Return the share of rows that are answered rather than abstained from."""
    return float((guesses.confidence[rows] >= guesses.threshold).mean())


def covered_accuracy(guesses: Guesses, rows: Rows) -> float:
    """Return the accuracy on answered rows; 1 when there is none, for nothing was said that is wrong."""
    kept = rows[guesses.confidence[rows] >= guesses.threshold]
    return float(guesses.right()[kept].mean()) if len(kept) else 1.0


FIGURES: Mapping[str, Callable[[Guesses, Rows], float]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "ece": calibration_error,
    "coverage": coverage,
    "covered_accuracy": covered_accuracy,
}


def measure(guesses: Guesses, names: Sequence[str] = tuple(FIGURES), *, seed: int = 0) -> dict[str, Metric]:
    """Return figures with their 95 % intervals (percentile bootstrap over rows)."""
    rows = len(guesses.true)
    draws = _draws(rows, seed)
    return {
        name: _metric(FIGURES[name](guesses, np.arange(rows)), [FIGURES[name](guesses, draw) for draw in draws], rows)
        for name in names
    }


def differences(ours: Guesses, theirs: Guesses, names: Sequence[str], *, seed: int = 0) -> dict[str, Metric]:
    """Return ours minus theirs, paired: the same rows are drawn for both."""
    rows = len(ours.true)
    draws = _draws(rows, seed)
    return {
        name: _metric(
            FIGURES[name](ours, np.arange(rows)) - FIGURES[name](theirs, np.arange(rows)),
            [FIGURES[name](ours, draw) - FIGURES[name](theirs, draw) for draw in draws],
            rows,
        )
        for name in names
    }


def label_f1(guesses: Guesses, *, seed: int = 0) -> dict[str, Metric]:
    """Return the F1 of each label that occurs, as `f1.LABEL`; `n` counts its true rows."""
    draws, found = _draws(len(guesses.true), seed), {}
    for number in np.unique(guesses.true):
        true, guessed = guesses.true == number, guesses.guessed == number
        value, drawn = _f1(true, guessed), [_f1(true[draw], guessed[draw]) for draw in draws]
        found[f"f1.{guesses.names[number]}"] = _metric(value, drawn, int(true.sum()))
    return found


def _f1(true: NDArray[np.bool_], guessed: NDArray[np.bool_]) -> float:
    total = int(true.sum() + guessed.sum())
    return 2 * int((true & guessed).sum()) / total if total else 1.0


def _draws(rows: int, seed: int) -> list[Rows]:
    random = np.random.default_rng(seed)
    return [random.integers(0, rows, rows) for _ in range(_DRAWS)]


def _metric(value: float, drawn: Sequence[float], rows: int) -> Metric:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Metric(value, float(low), float(high), rows)
