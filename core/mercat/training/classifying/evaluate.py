"""How good a finished classifier is on rows it never saw, beside a simple baseline that learned from the same rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mercat.errors import missing_extra
from mercat.evaluation.base import Metric
from mercat.evaluation.metrics import accuracy, classification, macro_f1
from mercat.evaluation.splits import key_of
from mercat.text import near_duplicates
from mercat.training.base import Evaluation, Progress
from mercat.training.classifying.classifier import Scorer, labels_of, texts_of
from mercat.training.compare import defined, differences, label_f1
from mercat.training.data import Parts, unseen_test_rows
from mercat.values import Example

Baseline = Callable[[Sequence[Example], Sequence[Example]], tuple[str, list[str]]]
"""(rows to learn from, rows to label) -> the name of a simple method, and its labels"""
_ALIKE = 0.8  # Jaccard likeness of runs of three characters
_CHUNK = 512


def evaluate_classifier(
    parts: Parts, artifact: Path, scorer: Scorer, *, progress: Progress, baseline: Baseline | None = None
) -> Evaluation:
    """Return test figures: overall, per label (`f1.LABEL`), and on rows unlike any training row (`clean.…`).

    `baseline` stands in for TF-IDF + logistic regression. Raises DataError when there is no test row that training has
    not seen.
    """
    rows = unseen_test_rows(parts, artifact)
    true, learned_from = labels_of(rows), [*parts.train, *parts.validation]
    progress("baseline", 0, 1)
    name, theirs = (baseline or _tfidf)(learned_from, rows)
    like = resembling(rows, learned_from)
    progress("baseline", 1, 1)
    found = _scores(scorer, rows, progress)
    ours = [scorer.labels[number] for number in found.argmax(axis=1)]
    counts = {"test": len(rows), "left_out_as_seen": len(parts.test) - len(rows), "resembling_train": int(like.sum())}
    overall = classification(true, found, scorer.labels, threshold=scorer.threshold)
    return Evaluation(
        metrics={**defined(overall), **_clean(true, ours, ~like), **label_f1(true, ours)},
        baseline=name,
        baseline_metrics={**_basic(true, theirs), **_clean(true, theirs, ~like), **label_f1(true, theirs)},
        differences=differences(true, ours, theirs),
        counts=counts,
        notes=_notes(counts),
    )


def _tfidf(train: Sequence[Example], rows: Sequence[Example]) -> tuple[str, list[str]]:
    try:
        from mercat.evaluation.baselines import TfidfLinear
    except ModuleNotFoundError as error:
        raise missing_extra("The baseline of an evaluation", error.name or "scikit-learn", "train") from error

    return TfidfLinear.name, TfidfLinear().fit(texts_of(train), labels_of(train)).predict(texts_of(rows))


def resembling(rows: Sequence[Example], train: Sequence[Example]) -> NDArray[np.bool_]:
    """Return, per row, whether some train row has nearly the same text; shape (rows,)."""
    known, found = {key_of(row) for row in train}, np.zeros(len(rows), dtype=bool)
    found[[at for at, row in enumerate(rows) if key_of(row) in known]] = True
    texts, sides = [*known, *map(key_of, rows)], ["train"] * len(known) + ["test"] * len(rows)
    pairs = near_duplicates(texts, threshold=_ALIKE, unit="char", parts=sides)
    found[[test - len(known) for _, test, _ in pairs]] = True
    return found


def _scores(scorer: Scorer, rows: Sequence[Example], progress: Progress) -> NDArray[np.float32]:
    found = []
    for start in range(0, len(rows), _CHUNK):
        found.append(scorer.scores(texts_of(rows[start : start + _CHUNK])))
        progress("score", min(start + _CHUNK, len(rows)), len(rows))
    return np.concatenate(found)


def _basic(true: Sequence[str], predicted: Sequence[str]) -> dict[str, Metric]:
    return {"accuracy": accuracy(true, predicted), "macro_f1": macro_f1(true, predicted)}


def _clean(true: Sequence[str], predicted: Sequence[str], clean: NDArray[np.bool_]) -> dict[str, Metric]:
    if clean.all() or not clean.any():
        return {}
    kept = np.flatnonzero(clean)
    basic = _basic([true[int(row)] for row in kept], [predicted[int(row)] for row in kept])
    return {f"clean.{name}": metric for name, metric in basic.items()}


def _notes(counts: dict[str, int]) -> tuple[str, ...]:
    notes = []
    if left_out := counts["left_out_as_seen"]:
        notes.append(f"{left_out} test rows were left out because training had seen them")
    if like := counts["resembling_train"]:
        notes.append(f"{like} test rows resemble a training row; the clean figures are without them")
    return tuple(notes)
