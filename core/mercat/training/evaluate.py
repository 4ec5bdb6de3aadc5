"""How good a finished classifier is on rows it never saw, beside a simple baseline that learned from the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mercat.errors import DataError
from mercat.evaluation.base import Metric
from mercat.training.base import Evaluation, Progress
from mercat.training.baseline import baseline_scores, resembling
from mercat.training.classifier import Scorer, labels_of, texts_of
from mercat.training.data import Parts, unseen
from mercat.training.measure import Guesses, differences, label_f1, measure
from mercat.values import Example

BASELINE = "TF-IDF + logistic regression"
_BASIC = ("accuracy", "macro_f1")
_CHUNK = 512


def evaluate_classifier(parts: Parts, artifact: Path, scorer: Scorer, *, progress: Progress) -> Evaluation:
    """Return test figures: overall, per label (`f1.LABEL`), and on rows unlike any training row (`clean.…`).

    Raises DataError when there is no test row that training has not seen.
    """
    rows = _test_rows(parts, artifact)
    true, learned_from = labels_of(rows), [*parts.train, *parts.validation]
    progress("baseline", 0, 1)
    labels, scores = baseline_scores(learned_from, rows)
    like = resembling(rows, learned_from)
    progress("baseline", 1, 1)
    names = sorted({*labels, *scorer.labels, *true})
    ours = Guesses.of(_scores(scorer, rows, progress), true, scorer.labels, names=names, threshold=scorer.threshold)
    theirs = Guesses.of(scores, true, labels, names=names)
    counts = {"test": len(rows), "left_out_as_seen": len(parts.test) - len(rows), "resembling_train": int(like.sum())}
    return Evaluation(
        metrics={**measure(ours), **_clean(ours, ~like), **label_f1(ours)},
        baseline=BASELINE,
        baseline_metrics={**measure(theirs, _BASIC), **_clean(theirs, ~like), **label_f1(theirs)},
        differences={**differences(ours, theirs, _BASIC)},
        counts=counts,
        notes=_notes(counts),
    )


def _test_rows(parts: Parts, artifact: Path) -> list[Example]:
    rows = unseen(artifact, parts.test)
    if not rows:
        raise DataError(
            "An evaluation needs test rows that training has not seen",
            f"The test part has {len(parts.test)} rows, none of them unseen",
            "rows with split = test, or test_share = 0.1 before training",
        )
    return rows


def _scores(scorer: Scorer, rows: Sequence[Example], progress: Progress) -> NDArray[np.float32]:
    found = []
    for start in range(0, len(rows), _CHUNK):
        found.append(scorer.scores(texts_of(rows[start : start + _CHUNK])))
        progress("score", min(start + _CHUNK, len(rows)), len(rows))
    return np.concatenate(found)


def _clean(guesses: Guesses, clean: NDArray[np.bool_]) -> dict[str, Metric]:
    if clean.all() or not clean.any():
        return {}
    return {f"clean.{name}": metric for name, metric in measure(guesses.only(clean), _BASIC).items()}


def _notes(counts: dict[str, int]) -> tuple[str, ...]:
    notes = []
    if left_out := counts["left_out_as_seen"]:
        notes.append(f"{left_out} test rows were left out because training had seen them")
    if like := counts["resembling_train"]:
        notes.append(f"{like} test rows resemble a training row; the clean figures are without them")
    return tuple(notes)
