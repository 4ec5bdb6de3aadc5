"""What every part of an audit works on: rows beside what the classifier says of them, and how texts are scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mercat.training.base import Progress
from mercat.training.classifying.classifier import Scorer
from mercat.training.progress import silent
from mercat.values import Example

Score = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts in, scores of shape (texts, labels) out."""
Item = TypeVar("Item")
_CHUNK = 256


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Rows and what the classifier says of each: `scores` of shape (rows, labels), columns in the order of `labels`."""

    rows: Sequence[Example]
    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    threshold: float = 0.0

    @property
    def texts(self) -> list[str]:
        """The text of every row."""
        return [row.text for row in self.rows]

    @property
    def true(self) -> list[str]:
        """The label that every row came with."""
        return [row.label for row in self.rows]

    @property
    def predicted(self) -> list[str]:
        """The best label of every row."""
        return [self.labels[number] for number in self.scores.argmax(axis=1)]

    @property
    def confidences(self) -> NDArray[np.float64]:
        """The calibrated probability of the best label, shape (rows,)."""
        return np.asarray(self.scores.max(axis=1), dtype=np.float64)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the best label is the true one, shape (rows,)."""
        return np.array([a == b for a, b in zip(self.true, self.predicted, strict=True)], dtype=bool)

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Whether the classifier would not abstain, shape (rows,)."""
        return np.asarray(self.confidences >= self.threshold)

    def at(self, places: Sequence[int]) -> Scored:
        """Return the rows at these places alone."""
        kept = np.asarray(places, dtype=np.intp)
        return Scored([self.rows[place] for place in kept], self.labels, self.scores[kept], self.threshold)


def score_rows(scorer: Scorer, rows: Sequence[Example], *, progress: Progress = silent) -> Scored:
    """Ask the classifier about every row once, in chunks."""
    scores = score_texts(scorer.scores, [row.text for row in rows], progress=progress, stage="score")
    return Scored(rows, scorer.labels, scores.reshape(len(rows), len(scorer.labels)), scorer.threshold)


def score_texts(
    score: Score, texts: Sequence[str], *, progress: Progress = silent, stage: str = "score"
) -> NDArray[np.float32]:
    """Return shape (texts, labels). A text that occurs twice is asked about once."""
    distinct = list(dict.fromkeys(texts))
    place = {text: number for number, text in enumerate(distinct)}
    found: list[NDArray[np.float32]] = []
    for start in range(0, len(distinct), _CHUNK):
        found.append(score(distinct[start : start + _CHUNK]))
        progress(stage, min(start + _CHUNK, len(distinct)), len(distinct))
    if not found:
        return np.zeros((0, 0), dtype=np.float32)
    return np.concatenate(found)[[place[text] for text in texts]]


def sample(items: Sequence[Item], size: int, *, seed: int) -> list[Item]:
    """Return up to `size` items drawn without replacement, in their old order; the same for the same seed."""
    if len(items) <= size:
        return list(items)
    drawn: Any = np.random.default_rng(seed).choice(len(items), size=size, replace=False)
    return [items[int(place)] for place in np.sort(drawn)]
