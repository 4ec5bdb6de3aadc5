"""Figures of tagged words: entities found with their exact borders and label, and tags word by word.

Tjong Kim Sang and De Meulder 2003, https://aclanthology.org/W03-0419 (precision, recall and F1 of entities).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.evaluation.base import Metric
from mercat.evaluation.bootstrap import Weights, of_rows
from mercat.heads.tags import entities

Tags = Sequence[Sequence[str]]


def tagging(true: Tags, predicted: Tags, *, seed: int = 0, n: int = 1000) -> dict[str, Metric]:
    """Return figures of BIO tags, one sequence per text; whole texts are drawn for the intervals.

    entity_precision, entity_recall and entity_f1 count entities whose borders and label are both right;
    token_micro_f1 and token_macro_f1 the tags of words, "O" among them; f1.LABEL the entities of one label, whose `n`
    counts those that are there.
    """
    counts = _counted(true, predicted)
    right, found, there = (counts[name].sum(axis=1) for name in ("right", "found", "there"))
    rows = len(true)

    def interval(figure: Any) -> Metric:
        return of_rows(figure, rows, seed=seed, n=n)

    metrics = {
        "entity_f1": interval(lambda weights: _f1(weights, right, found, there)),
        "entity_precision": interval(lambda weights: _share(weights @ right, weights @ found)),
        "entity_recall": interval(lambda weights: _share(weights @ right, weights @ there)),
        **_tokens(true, predicted, seed=seed, n=n),
    }
    for number, label in enumerate(counts["labels"]):
        columns = [counts[name][:, number] for name in ("right", "found", "there")]
        metric = interval(lambda weights, columns=columns: _f1(weights, *columns))
        metrics[f"f1.{label}"] = Metric(metric.value, metric.low, metric.high, int(columns[2].sum()))
    return metrics


def span_differences(true: Tags, ours: Tags, theirs: Tags, *, seed: int = 0, n: int = 1000) -> dict[str, Metric]:
    """Return ours minus theirs for entity_f1 and token_micro_f1, paired: the same texts are drawn for both."""
    left, right = _totals(true, ours), _totals(true, theirs)
    words = np.array([len(tags) for tags in true], dtype=np.float64)
    hits = [np.array([_same(a, b) for a, b in zip(true, each, strict=True)]) for each in (ours, theirs)]
    return {
        "entity_f1": of_rows(lambda weights: _f1(weights, *left) - _f1(weights, *right), len(true), seed=seed, n=n),
        "token_micro_f1": of_rows(
            lambda weights: _share(weights @ (hits[0] - hits[1]), weights @ words), len(true), seed=seed, n=n
        ),
    }


def entity_f1(true: Tags, predicted: Tags) -> float:
    """Return the F1 over all entities; 0 where none is right."""
    return float(_f1(np.ones((1, len(true))), *_totals(true, predicted))[0])


def _tokens(true: Tags, predicted: Tags, *, seed: int, n: int) -> dict[str, Metric]:
    names = sorted({tag for tags in (*true, *predicted) for tag in tags})
    number = {name: place for place, name in enumerate(names)}
    table = np.zeros((3, len(true), len(names)))  # right, found, there
    for row, (truth, guess) in enumerate(zip(true, predicted, strict=True)):
        for left, right in zip(truth, guess, strict=True):
            table[0, row, number[left]] += left == right
            table[1, row, number[right]] += 1
            table[2, row, number[left]] += 1

    def macro(weights: Weights) -> NDArray[Any]:
        right, total = weights @ table[0], weights @ (table[1] + table[2])
        scores = np.divide(2 * right, total, out=np.zeros_like(right), where=total > 0)
        return np.asarray(scores.sum(axis=1) / (total > 0).sum(axis=1))

    right, there = table[0].sum(axis=1), table[2].sum(axis=1)
    return {
        "token_micro_f1": of_rows(lambda weights: _share(weights @ right, weights @ there), len(true), seed=seed, n=n),
        "token_macro_f1": of_rows(macro, len(true), seed=seed, n=n),
    }


def _counted(true: Tags, predicted: Tags) -> dict[str, Any]:
    """Return per text and label how many entities are right, found and there, each of shape (texts, labels)."""
    spans = [[entities(tags) for tags in each] for each in (true, predicted)]
    labels = sorted({label for texts in spans for each in texts for _, _, label in each})
    number = {label: place for place, label in enumerate(labels)}
    tables = {name: np.zeros((len(true), len(labels))) for name in ("right", "found", "there")}
    for row, (truth, guess) in enumerate(zip(*spans, strict=True)):
        for name, some in (("right", set(truth) & set(guess)), ("found", guess), ("there", truth)):
            for label, count in Counter(label for _, _, label in some).items():
                tables[name][row, number[label]] = count
    return {**tables, "labels": labels}


def _totals(true: Tags, predicted: Tags) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    counts = _counted(true, predicted)
    return counts["right"].sum(axis=1), counts["found"].sum(axis=1), counts["there"].sum(axis=1)


def _f1(weights: Weights, right: NDArray[Any], found: NDArray[Any], there: NDArray[Any]) -> NDArray[Any]:
    return _share(2 * (weights @ right), weights @ (found + there))


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))


def _same(true: Sequence[str], predicted: Sequence[str]) -> int:
    return sum(left == right for left, right in zip(true, predicted, strict=True))
