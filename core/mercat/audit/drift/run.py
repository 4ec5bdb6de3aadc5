"""A whole drift report: the same figures of both sides, each with how often chance alone brings as much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mercat.audit.base import Scored, sample, score_rows
from mercat.audit.drift.measures import Shift, flat, label_shift, mean_shift, told_apart, value_shift, vector_shift
from mercat.audit.drift.texts import LEAST, Compare
from mercat.evaluation import Metric, interval
from mercat.text.language import detect
from mercat.text.tokens import keywords
from mercat.training.base import Progress
from mercat.training.classifying.classifier import ROLE
from mercat.training.progress import silent

_VECTORS = 500  # on each side; the kernel is a table of all pairs
_SHOWN = 8
_WORDS = 20
_LENGTHS = (20, 40, 80, 160, 320, 640)  # characters
_POINTS = 40


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two sides: how many rows, the classifier's mean confidence, the share that it answers, accuracy.

    `confidences` are the quantiles 0, 1/40, … 1. `accuracy` is None where fewer than 20 rows have a label.
    """

    rows: int
    confidence: float
    answered: float
    confidences: tuple[float, ...]
    accuracy: Metric | None


@dataclass(frozen=True, slots=True)
class Share:
    """The share of a label, a language or a length on both sides."""

    name: str
    before: float
    now: float


@dataclass(frozen=True, slots=True)
class Unlike:
    """An incoming text that is least like the reference, and what the classifier says of it."""

    id: str
    text: str
    label: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Everything that was found. `data` says in words what came in; `before` and `now` are the two sides.

    `unknown_before` and `unknown_now` are shares of words that the train part never had; `new_words` has (word, share
    of incoming texts with it). `plane` holds up to 500 texts of each side on two axes, to be drawn.
    """

    name: str
    version: str
    recipe: str
    made_at: datetime
    seed: int
    data: str
    notes: tuple[str, ...]
    before: Side
    now: Side
    labels: Shift
    label_shares: tuple[Share, ...]
    confidence: Shift
    meaning: Shift
    told_apart: float
    plane: tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]
    unlike: tuple[Unlike, ...]
    words: Shift
    unknown_before: float
    unknown_now: float
    new_words: tuple[tuple[str, float], ...]
    lengths: Shift
    length_shares: tuple[Share, ...]
    languages: Shift
    language_shares: tuple[Share, ...]


def drift(compare: Compare, *, made_at: datetime, seed: int = 0, progress: Progress = silent) -> Drift:
    """Hold incoming texts against those of the time when the artifact was made."""
    old, new = (score_rows(compare.scorer, rows, progress=progress) for rows in (compare.reference, compare.incoming))
    vectors = [_vectors(compare, scored, seed) for scored in (old, new)]
    apart, scores = told_apart(*vectors, seed=seed)
    known = {word for text in compare.learned for word in _words(text)}
    unknown = [_unknown(scored.texts, known) for scored in (old, new)]
    lengths = [np.array([float(len(text)) for text in scored.texts]) for scored in (old, new)]
    languages = [[detect(text) or "unknown" for text in scored.texts] for scored in (old, new)]
    return Drift(
        name=compare.artifact.name,
        version=compare.artifact.version,
        recipe=compare.artifact.recipe,
        made_at=made_at,
        seed=seed,
        data=compare.data,
        notes=tuple(compare.notes),
        before=_side(old, seed),
        now=_side(new, seed),
        labels=label_shift(old.predicted, new.predicted, seed=seed),
        label_shares=_by_change(old.predicted, new.predicted),
        confidence=value_shift(old.confidences, new.confidences, seed=seed),
        meaning=vector_shift(*vectors, seed=seed),
        told_apart=apart,
        plane=tuple(tuple((float(x), float(y)) for x, y in side) for side in flat(*vectors)),  # type: ignore[arg-type]
        unlike=_unlike(new, scores, seed),
        words=mean_shift(*unknown, seed=seed),
        unknown_before=float(unknown[0].mean()),
        unknown_now=float(unknown[1].mean()),
        new_words=_new_words(new.texts, known),
        lengths=value_shift(*lengths, seed=seed),
        length_shares=_lengths(*lengths),
        languages=label_shift(*languages, seed=seed),
        language_shares=_by_change(*languages),
    )


def _side(scored: Scored, seed: int) -> Side:
    labelled = np.array([bool(row.label) for row in scored.rows])
    right = scored.correct[labelled].astype(np.float64)
    quantiles = np.quantile(scored.confidences, np.linspace(0, 1, _POINTS + 1))
    return Side(
        rows=len(scored.rows),
        confidence=float(scored.confidences.mean()),
        answered=float(scored.answered.mean()),
        confidences=tuple(float(each) for each in quantiles),
        accuracy=interval(right, seed=seed) if labelled.sum() >= LEAST else None,
    )


def _vectors(compare: Compare, scored: Scored, seed: int) -> NDArray[np.float64]:
    return np.asarray(compare.encoder.encode(sample(scored.texts, _VECTORS, seed=seed), role=ROLE), dtype=np.float64)


def _unlike(scored: Scored, scores: NDArray[np.float64], seed: int) -> tuple[Unlike, ...]:
    """Return the incoming texts that are told apart from the reference most easily."""
    places = sample(range(len(scored.rows)), _VECTORS, seed=seed)
    best = [places[int(at)] for at in np.argsort(-scores, kind="stable")[:_SHOWN]]
    return tuple(
        Unlike(scored.rows[at].id, scored.rows[at].text, scored.predicted[at], float(scored.confidences[at]))
        for at in best
    )


def _by_change(before: Sequence[str], now: Sequence[str]) -> tuple[Share, ...]:
    """Return the share of each name on both sides, those that changed most first."""
    one, two = Counter(before), Counter(now)
    shares = [Share(name, one[name] / len(before), two[name] / len(now)) for name in sorted({*one, *two})]
    return tuple(sorted(shares, key=lambda share: -abs(share.now - share.before)))


def _lengths(before: NDArray[np.float64], now: NDArray[np.float64]) -> tuple[Share, ...]:
    ends = [0, *_LENGTHS, float("inf")]
    found = []
    for low, high in pairwise(ends):
        name = f"{low + 1:.0f} to {high:.0f}" if high < float("inf") else f"more than {low:.0f}"
        shares = [float(((side > low) & (side <= high)).mean()) for side in (before, now)]
        if any(shares):
            found.append(Share(f"{name} characters", *shares))
    return tuple(found)


def _words(text: str) -> list[str]:
    return keywords(text, chinese="bigrams")


def _unknown(texts: Sequence[str], known: set[str]) -> NDArray[np.float64]:
    """Return the share of each text's words that are not known, shape (texts,)."""
    found = []
    for text in texts:
        words = _words(text)
        found.append(sum(word not in known for word in words) / len(words) if words else 0.0)
    return np.array(found)


def _new_words(texts: Sequence[str], known: set[str]) -> tuple[tuple[str, float], ...]:
    """Return the words that the train part never had, with the share of texts that have them, most frequent first."""
    counts = Counter(word for text in texts for word in {*_words(text)} - known)
    often = [(word, count) for word, count in counts.items() if count > 1 and not word.isdigit()]
    often.sort(key=lambda each: (-each[1], each[0]))
    return tuple((word, count / len(texts)) for word, count in often[:_WORDS])
