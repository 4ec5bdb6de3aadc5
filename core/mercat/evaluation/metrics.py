"""Figures of classification, each with its interval, and the tables behind them. Labels are strings."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.evaluation.base import Metric
from mercat.evaluation.bootstrap import Weights, interval, of_rows
from mercat.heads.abstain import aurc
from mercat.heads.calibrate import ece

__all__ = [
    "LabelScores",
    "accuracy",
    "aurc",
    "auroc",
    "auroc_difference",
    "classification",
    "confusion",
    "coverage",
    "ece",
    "macro_f1",
    "per_label",
]

Labels = Sequence[str]
Groups = Sequence[Hashable] | None


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Precision, recall and F1 of one label (0 where nothing was found or nothing was there) and its true rows."""

    precision: float
    recall: float
    f1: float
    rows: int


def accuracy(true: Labels, predicted: Labels, *, seed: int = 0, n: int = 1000, groups: Groups = None) -> Metric:
    """Return the share of rows whose label was found."""
    return interval(_same(true, predicted).astype(np.float64), seed=seed, n=n, groups=groups)


def macro_f1(true: Labels, predicted: Labels, *, seed: int = 0, n: int = 1000, groups: Groups = None) -> Metric:
    """Return the mean F1 over the labels that are true or predicted in some row, each counting the same.

    In a resample the mean is over the labels that it holds.
    """
    names, truth, found = _codes(true, predicted)

    def figure(weights: Weights) -> NDArray[Any]:
        hits = _sums(weights, truth, truth == found, len(names))
        support = _sums(weights, truth, None, len(names)) + _sums(weights, found, None, len(names))
        present = support > 0
        scores = np.divide(2 * hits, support, out=np.zeros_like(hits), where=present)
        return np.asarray(scores.sum(axis=1) / present.sum(axis=1))

    return of_rows(figure, len(truth), seed=seed, n=n, groups=groups)


def per_label(true: Labels, predicted: Labels) -> Mapping[str, LabelScores]:
    """Return precision, recall and F1 of every label that is true or predicted somewhere."""
    table, names = confusion(true, predicted)
    scores = {}
    for number, name in enumerate(names):
        hits, found, there = table[number, number], table[:, number].sum(), table[number].sum()
        scores[name] = LabelScores(
            precision=float(hits / found) if found else 0.0,
            recall=float(hits / there) if there else 0.0,
            f1=float(2 * hits / (found + there)),
            rows=int(there),
        )
    return scores


def confusion(true: Labels, predicted: Labels) -> tuple[NDArray[np.int64], list[str]]:
    """Return (table, labels): table[i, j] counts rows of true label i that were called j.

    The shape is (labels, labels).
    """
    names, truth, found = _codes(true, predicted)
    size = len(names)
    table = np.bincount(truth * size + found, minlength=size * size).reshape(size, size)
    return table.astype(np.int64), names


def auroc(
    positive: NDArray[np.bool_] | Sequence[bool],
    scores: NDArray[Any] | Sequence[float],
    *,
    seed: int = 0,
    n: int = 1000,
    groups: Groups = None,
) -> Metric:
    """Return the chance that a positive row scores above a negative one, ties counting half; NaN without either."""
    truth = np.asarray(positive, dtype=bool)
    return of_rows(_auroc(truth, scores), len(truth), seed=seed, n=n, groups=groups)


def auroc_difference(
    positive: NDArray[np.bool_] | Sequence[bool],
    ours: NDArray[Any] | Sequence[float],
    theirs: NDArray[Any] | Sequence[float],
    *,
    seed: int = 0,
    n: int = 1000,
) -> Metric:
    """Return ours minus theirs, paired: the same rows are drawn for both."""
    truth = np.asarray(positive, dtype=bool)
    left, right = _auroc(truth, ours), _auroc(truth, theirs)
    return of_rows(lambda weights: left(weights) - right(weights), len(truth), seed=seed, n=n)


def _auroc(truth: NDArray[np.bool_], scores: NDArray[Any] | Sequence[float]) -> Callable[[Weights], NDArray[Any]]:
    _, rank = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True)
    order = np.argsort(rank, kind="stable")
    starts = np.flatnonzero(np.diff(rank[order], prepend=-1))

    def figure(weights: Weights) -> NDArray[Any]:
        sorted_weights = weights[:, order]
        up = np.add.reduceat(sorted_weights * truth[order], starts, axis=1)
        down = np.add.reduceat(sorted_weights * ~truth[order], starts, axis=1)
        below = np.cumsum(down, axis=1) - down / 2
        pairs = up.sum(axis=1) * down.sum(axis=1)
        wins = (up * below).sum(axis=1)
        return np.asarray(np.where(pairs > 0, wins / np.where(pairs > 0, pairs, 1.0), np.nan))

    return figure


def coverage(
    confidences: NDArray[Any] | Sequence[float],
    *,
    threshold: float,
    seed: int = 0,
    n: int = 1000,
    groups: Groups = None,
) -> Metric:
    """Return the share of rows that are answered: confidence at or above the threshold."""
    kept = np.asarray(confidences, dtype=np.float64) >= threshold
    return interval(kept.astype(np.float64), seed=seed, n=n, groups=groups)


def classification(
    true: Labels,
    scores: NDArray[np.float32],
    labels: Labels,
    *,
    threshold: float = 0.0,
    seed: int = 0,
    n: int = 1000,
    groups: Groups = None,
) -> dict[str, Metric]:
    """Return the usual figures of a classifier from its `scores`, shape (rows, len(labels)).

    accuracy and macro_f1 over all rows; ece and aurc; coverage, and covered_accuracy of the rows at or above the
    threshold. A true label that the classifier does not know is a wrong row.
    """
    best = scores.argmax(axis=1) if len(scores) else np.zeros(0, dtype=np.intp)
    predicted = [labels[number] for number in best]
    confident = scores.max(axis=1) if len(scores) else np.zeros(0, dtype=np.float32)
    right = _same(true, predicted)
    kept = confident >= threshold
    kept_groups = None if groups is None else [group for group, keep in zip(groups, kept, strict=True) if keep]
    return {
        "accuracy": accuracy(true, predicted, seed=seed, n=n, groups=groups),
        "macro_f1": macro_f1(true, predicted, seed=seed, n=n, groups=groups),
        "ece": ece_interval(confident, right, seed=seed, n=n, groups=groups),
        "aurc": _aurc_interval(confident, right, seed=seed, n=n, groups=groups),
        "coverage": coverage(confident, threshold=threshold, seed=seed, n=n, groups=groups),
        "covered_accuracy": interval(right[kept].astype(np.float64), seed=seed, n=n, groups=kept_groups),
    }


def ece_interval(
    confidences: NDArray[Any], correct: NDArray[np.bool_], *, seed: int = 0, n: int = 1000, groups: Groups = None
) -> Metric:
    """Return the expected calibration error (15 bins of equal width) with its interval.

    Resampling adds noise to every bin, so the interval lies somewhat high.
    """
    place = np.clip(np.ceil(confidences.astype(np.float64) * 15).astype(int) - 1, 0, 14)
    gaps = correct.astype(np.float64) - confidences.astype(np.float64)
    by_bin = np.zeros((len(place), 15))
    by_bin[np.arange(len(place)), place] = gaps

    def figure(weights: Weights) -> NDArray[Any]:
        return np.asarray(np.abs(weights @ by_bin).sum(axis=1) / weights.sum(axis=1))

    return of_rows(figure, len(place), seed=seed, n=n, groups=groups)


def _aurc_interval(
    confidences: NDArray[Any], correct: NDArray[np.bool_], *, seed: int, n: int, groups: Groups
) -> Metric:
    order = np.argsort(-confidences, kind="stable")
    wrong = 1.0 - correct[order].astype(np.float64)

    def figure(weights: Weights) -> NDArray[Any]:
        drawn = weights[:, order]
        kept = np.cumsum(drawn, axis=1)
        risk = np.divide(np.cumsum(drawn * wrong, axis=1), kept, out=np.zeros_like(kept), where=kept > 0)
        return np.asarray((risk * drawn).sum(axis=1) / drawn.sum(axis=1))

    found = of_rows(figure, len(order), seed=seed, n=n, groups=groups)
    return Metric(aurc(confidences, correct), found.low, found.high, found.n)


def _same(true: Labels, predicted: Labels) -> NDArray[np.bool_]:
    if len(true) != len(predicted):
        raise ValueError(f"one prediction per row: {len(predicted)} for {len(true)} rows")
    return np.array([left == right for left, right in zip(true, predicted, strict=True)], dtype=bool)


def _codes(true: Labels, predicted: Labels) -> tuple[list[str], NDArray[np.intp], NDArray[np.intp]]:
    _same(true, predicted)
    names = sorted({*true, *predicted})
    number = {name: place for place, name in enumerate(names)}
    return (
        names,
        np.array([number[name] for name in true], dtype=np.intp),
        np.array([number[name] for name in predicted], dtype=np.intp),
    )


def _sums(weights: Weights, codes: NDArray[np.intp], where: NDArray[np.bool_] | None, size: int) -> NDArray[np.float64]:
    """Return the weight of each label in each resample, shape (resamples, size), counting rows `where` only."""
    one_hot = np.zeros((len(codes), size))
    one_hot[np.arange(len(codes)), codes] = 1.0 if where is None else where
    return np.asarray(weights @ one_hot)
