"""Rows whose label is probably wrong, from scores of a classifier that has not learned from them.

Confident learning: Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels". A
row counts for a label when its probability reaches the mean probability of the rows given that label; a row that counts
for another label than its own is a suspect.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mercat.audit.base import Scored

SHOWN = 25


@dataclass(frozen=True, slots=True)
class Suspect:
    """A row whose label is doubted; `margin` is the probability of the likely label minus that of the given one."""

    id: str
    text: str
    given: str
    likely: str
    margin: float


@dataclass(frozen=True, slots=True)
class Suspects:
    """Doubted labels, the most doubtful first; at most 25 are kept, `count` says how many there are.

    `noise` estimates the share of wrong labels among the `rows` compared (the off-diagonal of the calibrated confident
    joint); `pairs` are the most frequent (given, likely, rows). `unknown` rows have labels that the classifier lacks.
    """

    rows: int
    count: int
    noise: float
    unknown: int
    pairs: tuple[tuple[str, str, int], ...]
    suspects: tuple[Suspect, ...]


def suspects(scored: Scored) -> Suspects:
    """Return the rows whose label the classifier confidently contradicts."""
    column = {label: number for number, label in enumerate(scored.labels)}
    known = [at for at, label in enumerate(scored.true) if label in column]
    part = scored.at(known)
    given = np.array([column[label] for label in part.true], dtype=np.intp)
    likely = confident_labels(part.scores, given)
    doubted = np.flatnonzero((likely >= 0) & (likely != given))
    rows = np.arange(len(given))
    margins = part.scores[rows, np.maximum(likely, 0)] - part.scores[rows, given]
    ranked = sorted((int(at) for at in doubted), key=lambda at: (-float(margins[at]), at))
    counted = Counter((part.true[at], scored.labels[likely[at]]) for at in ranked)
    return Suspects(
        rows=len(known),
        count=len(ranked),
        noise=noise(given, likely, len(scored.labels)),
        unknown=len(scored.rows) - len(known),
        pairs=tuple((old, new, count) for (old, new), count in counted.most_common(10)),
        suspects=tuple(
            Suspect(part.rows[at].id, part.rows[at].text, part.true[at], scored.labels[likely[at]], float(margins[at]))
            for at in ranked[:SHOWN]
        ),
    )


def confident_labels(scores: NDArray[np.float32], given: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the label that each row counts for, shape (rows,), -1 for none.

    Of several the one with the highest probability is taken. A label that no row was given has no threshold.
    """
    size = scores.shape[1]
    counts = np.bincount(given, minlength=size)
    own = scores[np.arange(len(given)), given].astype(np.float64)
    sums = np.bincount(given, weights=own, minlength=size)
    thresholds = np.divide(sums, counts, out=np.full(size, np.inf), where=counts > 0)
    reached = np.where(scores >= thresholds - 1e-9, scores, -1.0)
    return np.where(reached.max(axis=1, initial=-1.0) >= 0, reached.argmax(axis=1), -1).astype(np.intp)


def noise(given: NDArray[np.intp], likely: NDArray[np.intp], size: int) -> float:
    """Return the estimated share of wrong labels: of each given label its confident others, weighted by its rows."""
    counted = likely >= 0
    joint = np.zeros((size, size))
    np.add.at(joint, (given[counted], likely[counted]), 1.0)
    sums, rows = joint.sum(axis=1), np.bincount(given, minlength=size)
    wrong = np.divide(sums - np.diag(joint), sums, out=np.zeros(size), where=sums > 0)
    return float((wrong * rows).sum() / max(rows.sum(), 1))
