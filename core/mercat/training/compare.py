"""Figures per label and paired differences, with intervals, in the terms of `mercat.evaluation`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.evaluation.base import Metric
from mercat.evaluation.bootstrap import Weights, of_rows, paired

Labels = Sequence[str]


def defined(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Leave out figures that have no value, such as the accuracy on answered rows where none was answered."""
    return {name: metric for name, metric in metrics.items() if not math.isnan(metric.value)}


def label_f1(true: Labels, predicted: Labels, *, seed: int = 0) -> dict[str, Metric]:
    """Return the F1 of each label that occurs, as `f1.LABEL`; `n` counts its true rows."""
    names, found = sorted(set(true)), {}
    for name in names:
        truth, guess = (np.array([label == name for label in labels], dtype=float) for labels in (true, predicted))
        metric = of_rows(lambda weights, t=truth, g=guess: _f1(weights, t, g), len(true), seed=seed)  # type: ignore[misc]
        found[f"f1.{name}"] = Metric(metric.value, metric.low, metric.high, int(truth.sum()))
    return found


def differences(true: Labels, ours: Labels, theirs: Labels, *, seed: int = 0) -> dict[str, Metric]:
    """Return ours minus theirs for accuracy and macro F1, paired: the same rows are drawn for both."""
    names = sorted({*true, *ours, *theirs})
    truth, left, right = (_one_hot(labels, names) for labels in (true, ours, theirs))
    return {
        "accuracy": paired((truth * left).sum(axis=1), (truth * right).sum(axis=1), seed=seed),
        "macro_f1": of_rows(
            lambda weights: _macro_f1(weights, truth, left) - _macro_f1(weights, truth, right), len(true), seed=seed
        ),
    }


def mean_f1(true: NDArray[np.int64], predicted: NDArray[np.int64], labels: int) -> float:
    """Return the mean F1 over the labels, numbers below `labels`, that are true or predicted somewhere."""
    hits = np.bincount(true[true == predicted], minlength=labels)
    total = np.bincount(true, minlength=labels) + np.bincount(predicted, minlength=labels)
    return float((2 * hits[total > 0] / total[total > 0]).mean())


def _f1(weights: Weights, true: NDArray[Any], predicted: NDArray[Any]) -> NDArray[Any]:
    total = weights @ (true + predicted)
    hits = weights @ (true * predicted)
    return np.asarray(np.divide(2 * hits, total, out=np.full(len(total), np.nan), where=total > 0))


def _macro_f1(weights: Weights, true: NDArray[Any], predicted: NDArray[Any]) -> NDArray[Any]:
    hits, total = weights @ (true * predicted), weights @ (true + predicted)
    scores = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
    return np.asarray(scores.sum(axis=1) / (total > 0).sum(axis=1))


def _one_hot(labels: Labels, names: Sequence[str]) -> NDArray[np.float64]:
    number = {name: place for place, name in enumerate(names)}
    found = np.zeros((len(labels), len(names)))
    found[np.arange(len(labels)), [number[label] for label in labels]] = 1.0
    return found
