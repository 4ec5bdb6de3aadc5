"""How often a label changes when a text is only written otherwise, and what that costs in accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mercat.audit.base import Score, Scored, score_texts
from mercat.audit.calibration import share_of
from mercat.audit.swaps import SHOWN, Flip
from mercat.evaluation import Metric, paired
from mercat.text.variants import WAYS, Way, changed
from mercat.training.base import Progress
from mercat.training.progress import silent


@dataclass(frozen=True, slots=True)
class Robustness:
    """What one way of changing texts did to the `rows` texts that it changed.

    `flips` is the share whose label changed, with its Wilson interval; `drop` how much accuracy was lost, as a share,
    paired over rows; `doubt` the mean loss of the probability of the first label. All are NaN or 0 without rows.
    """

    way: str
    about: str
    keeps_label: bool
    rows: int
    flips: Metric
    drop: Metric
    doubt: float
    examples: tuple[Flip, ...]


def robustness(
    score: Score, scored: Scored, *, ways: Mapping[str, Way] = WAYS, seed: int = 0, progress: Progress = silent
) -> list[Robustness]:
    """Change the texts of `scored` in every way and compare; ways that fit no text are left out."""
    found = []
    for number, (name, way) in enumerate(ways.items()):
        after = changed(scored.texts, way, seed=seed)
        places = [at for at, (old, new) in enumerate(zip(scored.texts, after, strict=True)) if old != new]
        if places:
            part = scored.at(places)
            found.append(compare(score, part, [after[at] for at in places], name=name, way=way, seed=seed))
        progress("robustness", number + 1, len(ways))
    return found


def compare(score: Score, before: Scored, after: list[str], *, name: str, way: Way, seed: int = 0) -> Robustness:
    """Score the changed texts, one per row of `before`, and compare them row by row."""
    scores = score_texts(score, after)
    first, second = before.scores.argmax(axis=1), scores.argmax(axis=1)
    flipped = np.flatnonzero(first != second)
    rows = np.arange(len(after))
    still = np.array([before.labels[label] == row.label for label, row in zip(second, before.rows, strict=True)])
    shown = [
        Flip(before.rows[row].text, after[row], before.labels[first[row]], before.labels[second[row]])
        for row in flipped[:SHOWN]
    ]
    return Robustness(
        way=name,
        about=way.about,
        keeps_label=way.keeps_label,
        rows=len(after),
        flips=share_of(len(flipped), len(after)),
        drop=paired(before.correct.astype(np.float64), still.astype(np.float64), seed=seed),
        doubt=float((before.scores[rows, first] - scores[rows, first]).mean()),
        examples=tuple(shown),
    )
