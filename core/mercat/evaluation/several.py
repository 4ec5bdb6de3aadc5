"""Figures of texts that may have any number of labels: tables of truth, of what was given, and of scores.

Tsoumakas et al. 2010, "Mining Multi-label Data" (micro, macro, ranking); all tables have shape (rows, labels).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.evaluation.base import Metric
from mercat.evaluation.bootstrap import Weights, interval, of_rows

Table = NDArray[Any]


def several(
    truth: Table, given: Table, scores: Table, labels: Sequence[str], *, seed: int = 0, n: int = 1000
) -> dict[str, Metric]:
    """Return micro_f1, macro_f1, lrap, exact and f1.LABEL.

    micro_f1 counts all labels of all rows together; macro_f1 is the mean over the labels that are there or given; lrap
    the mean, over a row's labels, of the share of true ones among those ranked as high; exact the share of rows with
    exactly their labels.
    """
    right = (truth & given).astype(float)
    total = truth.astype(float) + given

    def f1(columns: Any) -> Metric:
        return of_rows(
            lambda weights: _share(2 * (weights @ right[:, columns]).sum(1), (weights @ total[:, columns]).sum(1)),
            len(truth),
            seed=seed,
            n=n,
        )

    metrics = {
        "micro_f1": f1(slice(None)),
        "macro_f1": of_rows(lambda weights: _macro(weights, right, total), len(truth), seed=seed, n=n),
        "lrap": interval(_ranked(truth, scores), seed=seed, n=n),
        "exact": interval((truth == given).all(axis=1).astype(float), seed=seed, n=n),
    }
    for number, label in enumerate(labels):
        if total[:, number].any():
            found = f1([number])
            metrics[f"f1.{label}"] = Metric(found.value, found.low, found.high, int(truth[:, number].sum()))
    return metrics


def several_differences(truth: Table, ours: Table, theirs: Table, *, seed: int = 0, n: int = 1000) -> dict[str, Metric]:
    """Return ours minus theirs for micro_f1 and macro_f1, paired: the same rows are drawn for both."""
    sides = [((truth & given).astype(float), truth.astype(float) + given) for given in (ours, theirs)]

    def between(figure: Any) -> Metric:
        return of_rows(
            lambda weights: figure(weights, *sides[0]) - figure(weights, *sides[1]), len(truth), seed=seed, n=n
        )

    return {"micro_f1": between(_micro), "macro_f1": between(_macro)}


def table_of(labels: Sequence[Sequence[str]], names: Sequence[str]) -> NDArray[np.bool_]:
    """Return which of `names` each row has, shape (rows, names); labels that are no name are left out."""
    number = {name: place for place, name in enumerate(names)}
    found = np.zeros((len(labels), len(names)), dtype=np.bool_)
    for row, some in enumerate(labels):
        found[row, [number[label] for label in some if label in number]] = True
    return found


def f1_of(truth: Table, given: Table) -> dict[str, float]:
    """Return micro_f1 and macro_f1 without their intervals."""
    right, total = (truth & given).astype(float), truth.astype(float) + given
    one = np.ones((1, len(truth)))
    return {"micro_f1": float(_micro(one, right, total)[0]), "macro_f1": float(_macro(one, right, total)[0])}


def _micro(weights: Weights, right: Table, total: Table) -> NDArray[Any]:
    return _share(2 * (weights @ right.sum(axis=1)), weights @ total.sum(axis=1))


def _macro(weights: Weights, right: Table, total: Table) -> NDArray[Any]:
    whole = weights @ total
    scores = _share(2 * (weights @ right), whole)
    return _share(scores.sum(axis=1), (whole > 0).sum(axis=1).astype(float))


def _ranked(truth: Table, scores: Table) -> NDArray[np.float64]:
    """Return the label ranking average precision of each row; 1 where it has no label, or all of them."""
    found = np.ones(len(truth))
    for row, (has, score) in enumerate(zip(truth, scores, strict=True)):
        if has.any() and not has.all():
            above = score[None, :] >= score[has][:, None]
            found[row] = ((above & has).sum(axis=1) / above.sum(axis=1)).mean()
    return found


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))
