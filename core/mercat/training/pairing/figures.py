"""How good a matcher is, and how much better than the cosine of the encoder as it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mercat.encoders.base import Vectors
from mercat.evaluation.base import Metric
from mercat.evaluation.metrics import accuracy, auroc, classification, macro_f1
from mercat.evaluation.numbers import regression, regression_differences
from mercat.predictors.matcher import PairScorer
from mercat.training.compare import defined, differences, label_f1
from mercat.training.numbers import numbers_of
from mercat.training.pairing.cosine import Line, Threshold
from mercat.values import Example


def pair_metrics(scorer: PairScorer, vectors: Vectors, rows: Sequence[Example]) -> dict[str, Metric]:
    """Return the figures of labels, or of numbers, on these rows; `vectors` has shape (rows, dimensions)."""
    if not scorer.labels:
        return defined(regression(numbers_of(rows), scorer.scores(vectors)))
    true, found = [row.label for row in rows], scorer.probabilities(vectors)
    guessed = scorer.best(vectors)
    positive = np.array([label == scorer.positive for label in true])
    f1 = label_f1(true, guessed)
    metrics = {
        **classification(true, found, scorer.labels),
        **({"f1": f1[f"f1.{scorer.positive}"]} if f"f1.{scorer.positive}" in f1 else {}),
        "auroc": auroc(positive, scorer.scores(vectors)),
    }
    return defined(metrics)


def labels_compared(
    scorer: PairScorer,
    vectors: Vectors,
    rows: Sequence[Example],
    learned_from: Sequence[Example],
    seen: NDArray[np.float32],
    asked: NDArray[np.float32],
) -> tuple[str, dict[str, Metric], dict[str, Metric]]:
    """Return (name, figures of the cosine with a threshold, ours minus those).

    `seen` are the cosines of the rows to learn from, `asked` those of `rows`, of shape (rows,).
    """
    simple = Threshold.fit(seen, [row.label for row in learned_from])
    true, ours, theirs = [row.label for row in rows], scorer.best(vectors), simple.labels(asked)
    f1 = label_f1(true, theirs)
    metrics = {
        "accuracy": accuracy(true, theirs),
        "macro_f1": macro_f1(true, theirs),
        **({"f1": f1[f"f1.{scorer.positive}"]} if f"f1.{scorer.positive}" in f1 else {}),
        "auroc": auroc(np.array([label == scorer.positive for label in true]), asked),
    }
    return simple.name, defined(metrics), differences(true, ours, theirs)


def numbers_compared(
    scorer: PairScorer,
    vectors: Vectors,
    rows: Sequence[Example],
    learned_from: Sequence[Example],
    seen: NDArray[np.float32],
    asked: NDArray[np.float32],
) -> tuple[str, dict[str, Metric], dict[str, Metric]]:
    """Return (name, figures of the cosine with a line, ours minus those); see `labels_compared`."""
    simple = Line.fit(seen, numbers_of(learned_from))
    true, theirs = numbers_of(rows), simple.numbers(asked)
    between = regression_differences(true, scorer.scores(vectors), theirs)
    return simple.name, defined(regression(true, theirs)), defined(between)
