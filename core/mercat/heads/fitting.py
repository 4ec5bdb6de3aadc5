"""How a LinearHead is fitted. Loaded late, because scikit-learn takes seconds to import."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from mercat.errors import DataError
from mercat.heads.base import Vectors
from mercat.heads.calibrate import fit_temperature, nll
from mercat.heads.linear import Calibration, LinearHead

Labelled = tuple[Vectors, Sequence[str]]
GRID = (1.0, 10.0, 100.0)  # unit vectors of some hundred dimensions want little penalty
HELD_OUT = 0.2


def fit_linear(
    vectors: Vectors,
    labels: Sequence[str],
    *,
    fingerprint: str,
    validation: Labelled | None,
    calibration: Calibration,
    class_weight: Literal["balanced"] | None,
    strength: float | Literal["auto"],
    max_error: float | None,
    seed: int,
) -> LinearHead:
    """See `LinearHead.fit`."""
    _check(vectors, labels)
    if validation is not None:
        _check(*validation)
    vectors, kept, notes = _without_single_rows(np.asarray(vectors, dtype=np.float32), labels)
    grid = GRID if strength == "auto" else (float(strength),)
    if validation is not None:
        heads = _path(vectors, kept, grid, fingerprint, class_weight)
        return _best(heads, validation, calibration, max_error, notes)[0]
    train, held = _hold_out(kept, seed)
    heads = _path(vectors[train], kept[train], grid, fingerprint, class_weight)
    chosen, number = _best(heads, (vectors[held], list(kept[held])), calibration, max_error, notes)
    final = _path(vectors, kept, grid[number : number + 1], fingerprint, class_weight)[0]
    return replace(chosen, weights=final.weights, bias=final.bias)


def fit_each(
    vectors: Vectors, truth: NDArray[np.bool_], *, strength: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fit one logistic regression per column of `truth`, shape (rows, labels).

    Returns weights of shape (labels, dimensions) and bias (labels,). A label that all rows have, or none, gets a bias
    alone.
    """
    weights = np.zeros((truth.shape[1], vectors.shape[1]), dtype=np.float32)
    bias = np.zeros(truth.shape[1], dtype=np.float32)
    for number, column in enumerate(truth.T):
        if column.all() or not column.any():
            bias[number] = np.log((column.sum() + 0.5) / ((~column).sum() + 0.5))
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=strength, max_iter=200, tol=1e-4).fit(vectors, column)
        weights[number], bias[number] = model.coef_[0], model.intercept_[0]
    return weights, bias


def _check(vectors: Vectors, labels: Sequence[str]) -> None:
    if vectors.ndim != 2 or len(vectors) != len(labels):
        raise DataError(
            "A head is fitted on one vector and one label per row",
            f"It was given vectors of shape {vectors.shape} and {len(labels)} labels",
            "vectors of shape (rows, dimensions)",
        )
    if not np.isfinite(vectors).all():
        raise DataError("A head is fitted on finite vectors", "Some are infinite or not a number", "encode them again")


def _without_single_rows(vectors: Vectors, labels: Sequence[str]) -> tuple[Vectors, NDArray[np.str_], tuple[str, ...]]:
    """Leave out labels with one row: nothing can be learned from it that could also be checked."""
    counts = Counter(labels)
    single = sorted(label for label, count in counts.items() if count == 1)
    if len(counts) - len(single) < 2:
        raise DataError(
            "A head needs at least two labels with two rows each",
            f"Found {len(counts)} labels, of which {len(single)} have one row",
            "more labelled rows",
        )
    kept = np.array([counts[label] > 1 for label in labels])
    names = np.array(labels, dtype=np.str_)
    if not single:
        return vectors, names, ()
    shown = ", ".join(single[:20]) + (" …" if len(single) > 20 else "")
    return vectors[kept], names[kept], (f"Labels seen once were dropped: {shown}",)


def _hold_out(labels: NDArray[np.str_], seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split rows into (train, held out), at least one row of every label on each side."""
    rng = np.random.default_rng(seed)
    held = []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        held.append(rows[: max(1, round(len(rows) * HELD_OUT))])
    out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), out), out


def _path(
    vectors: Vectors,
    labels: NDArray[np.str_],
    grid: Sequence[float],
    fingerprint: str,
    class_weight: Literal["balanced"] | None,
) -> list[LinearHead]:
    """Fit one head per strength, each starting from the one before."""
    model = LogisticRegression(class_weight=class_weight, max_iter=200, tol=3e-5, warm_start=True)
    return [_head(model.set_params(C=strength), vectors, labels, fingerprint) for strength in grid]


def _head(model: LogisticRegression, vectors: Vectors, labels: NDArray[np.str_], fingerprint: str) -> LinearHead:
    with warnings.catch_warnings():  # a fit stopped after 200 steps is judged on validation rows like any other
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(vectors, labels)
    weights, bias = model.coef_, model.intercept_
    if len(weights) == 1:  # two labels: scikit-learn keeps one row, the sigmoid's
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    names = tuple(str(label) for label in model.classes_)
    return LinearHead(names, weights.astype(np.float32), bias.astype(np.float32), fingerprint)


def _best(
    heads: Sequence[LinearHead],
    validation: Labelled,
    calibration: Calibration,
    max_error: float | None,
    notes: tuple[str, ...],
) -> tuple[LinearHead, int]:
    """Return the head with the most right validation rows (ties: the likelier), calibrated, and its number."""
    number = max(range(len(heads)), key=lambda place: _merit(heads[place], validation))
    unknown = sorted(set(validation[1]) - set(heads[0].labels))
    if unknown:
        notes = (*notes, f"Validation labels without training rows: {', '.join(unknown[:20])}")
    head = replace(heads[number], notes=notes)
    return head.calibrated(validation, method=calibration, max_error=max_error), number


def _merit(head: LinearHead, validation: Labelled) -> tuple[float, float]:
    vectors, labels = validation
    column = {label: number for number, label in enumerate(head.labels)}
    targets = np.array([column.get(label, -1) for label in labels], dtype=np.intp)
    known = targets >= 0
    if not known.any():
        return 0.0, 0.0
    logits = head.logits(np.asarray(vectors, dtype=np.float32)[known])
    right = float((logits.argmax(axis=1) == targets[known]).mean())
    return right, -nll(logits, targets[known], temperature=fit_temperature(logits, targets[known]))
