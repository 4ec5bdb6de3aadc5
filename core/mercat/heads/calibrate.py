"""Make scores mean what they say: temperature scaling, isotonic tables, and the error of calibration.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (temperature, ECE); Zadrozny and Elkan 2002, "Transforming
Classifier Scores into Accurate Multiclass Probability Estimates" (isotonic regression per class, then normalised).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.errors import missing_extra

Floats = NDArray[Any]
_GOLDEN = (5**0.5 - 1) / 2


def softmax(logits: Floats) -> NDArray[np.float64]:
    """Return shape as given, float64: each row positive with sum 1."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def nll(logits: Floats, targets: NDArray[np.intp], *, temperature: float = 1.0, smoothing: float = 0.0) -> float:
    """Return the mean negative log-likelihood, in nats, of the true columns `targets`, shape (rows,).

    `smoothing` is the share of each target that is spread over all columns.
    """
    scaled = logits.astype(np.float64) / temperature
    peak = scaled.max(axis=1)
    total = np.log(np.exp(scaled - peak[:, None]).sum(axis=1)) + peak
    wanted = (1.0 - smoothing) * scaled[np.arange(len(targets)), targets] + smoothing * scaled.mean(axis=1)
    return float((total - wanted).mean())


def fit_temperature(logits: Floats, targets: NDArray[np.intp]) -> float:
    """Return the temperature in [0.05, 20] that gives the least negative log-likelihood.

    The loss is convex in 1/T and so has one valley in log T: golden-section search. One part in rows + 2 of each
    target is spread over all labels (as Platt 1999 does), or a few rows that are all right would make certainties.
    """
    low, high = np.log(0.05), np.log(20.0)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = _at(logits, targets, left), _at(logits, targets, right)
    while high - low > 1e-3:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = _at(logits, targets, left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = _at(logits, targets, right)
    return float(np.exp((low + high) / 2))


@dataclass(frozen=True, slots=True, eq=False)
class IsotonicTables:
    """One rising function per label: knots `x` and heights `y`; those of label i are at offsets[i]:offsets[i+1]."""

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    offsets: NDArray[np.int64]

    def apply(self, scores: Floats) -> NDArray[np.float64]:
        """Map shape (rows, labels) column by column and normalise; a row that maps to all zeros keeps its scores."""
        mapped = np.empty(scores.shape, dtype=np.float64)
        for column in range(scores.shape[1]):
            part = slice(self.offsets[column], self.offsets[column + 1])
            mapped[:, column] = np.interp(scores[:, column], self.x[part], self.y[part])
        total = mapped.sum(axis=1, keepdims=True)
        return np.where(total > 0, mapped / np.where(total > 0, total, 1.0), scores)


def fit_isotonic(scores: Floats, targets: NDArray[np.intp]) -> IsotonicTables:
    """Fit a rising step function per column of `scores`, shape (rows, labels), to "the true column is this one"."""
    try:
        from sklearn.isotonic import IsotonicRegression
    except ModuleNotFoundError as error:
        raise missing_extra("Isotonic calibration", error.name or "scikit-learn", "train") from error

    floor = 1.0 / scores.size  # no finite number of rows proves that a label is impossible
    xs, ys = [], []
    for column in range(scores.shape[1]):
        model = IsotonicRegression(y_min=floor, y_max=1.0, out_of_bounds="clip")
        model.fit(scores[:, column].astype(np.float64), (targets == column).astype(np.float64))
        xs.append(model.X_thresholds_.astype(np.float32))
        ys.append(model.y_thresholds_.astype(np.float32))
    offsets = np.cumsum([0, *(len(x) for x in xs)]).astype(np.int64)
    return IsotonicTables(np.concatenate(xs), np.concatenate(ys), offsets)


def ece(confidences: Floats | Sequence[float], correct: NDArray[np.bool_] | Sequence[bool], *, bins: int = 15) -> float:
    """Return the expected calibration error over bins of equal width: sum of share * |accuracy - mean confidence|."""
    confident, right = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if not len(confident):
        return float("nan")
    place = np.clip(np.ceil(confident * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=right - confident, minlength=bins)
    return float(np.abs(gaps).sum() / len(confident))


def _at(logits: Floats, targets: NDArray[np.intp], log_temperature: float) -> float:
    return nll(logits, targets, temperature=float(np.exp(log_temperature)), smoothing=1.0 / (len(targets) + 2))
