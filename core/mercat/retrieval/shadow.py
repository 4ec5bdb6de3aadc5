"""What another encoder or index would answer, held against what answers now, before anything is switched."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mercat.encoders.base import Vectors
from mercat.errors import DataError
from mercat.retrieval.dense import Dense
from mercat.retrieval.encoding import with_direction
from mercat.retrieval.rows import Ranked

_QUESTIONS = 200
_SHARE, _MOST = 0.1, 20_000  # of the rows that a filter allows, and how many of them are compared one by one

_TIE = 1e-4  # scores nearer than this are the same: backends round


@dataclass(frozen=True, slots=True)
class Shadow:
    """How alike two retrievers answer the same questions.

    `overlap` is the mean share of the first `k` hits of the one that the other has too. `filtered_recall` is the mean
    share of the true neighbours among some rows that the other finds when only those are allowed; `filtered_recall_now`
    is that of the one that answers now. All lie between 0 and 1. Of rows with the same score any may be among the first
    `k`; between two encoders, whose scores say nothing beside each other, ids alone count.
    """

    questions: int
    k: int
    overlap: float
    filtered_recall: float
    filtered_recall_now: float
    allowed_rows: int


def shadow(now: Dense, then: Dense, *, questions: int = _QUESTIONS, k: int = 10, seed: int = 0) -> Shadow:
    """Ask both the first sentences of stored rows, drawn with a seed, and compare; nothing is changed.

    The questions are encoded by each with its own encoder. Raises DataError if there are no rows with a text.
    """
    draw = np.random.default_rng(seed)
    ids = np.array([key for batch, _ in then.vectors() for key in batch])
    if not len(ids):
        raise DataError("Comparing two indexes", "There are no rows", "mercat index build")
    texts = then.texts(draw.choice(ids, min(questions, len(ids)), replace=False).tolist())
    asked = [_question(text) for text in texts]
    count = int(min(_MOST, max(k, round(_SHARE * len(ids)), min(len(ids), 100 * k))))
    allowed = frozenset(draw.choice(ids, min(count, len(ids)), replace=False).tolist())
    pairs = zip(now.nearest(asked, k), then.nearest(asked, k), strict=True)
    tie = _TIE if now.encoder.fingerprint == then.encoder.fingerprint else -np.inf
    return Shadow(
        len(asked),
        k,
        _mean(_shared(ours, theirs, tie) for ours, theirs in pairs),
        _filtered(then, asked, k, allowed),
        _filtered(now, asked, k, allowed),
        len(allowed),
    )


def _question(text: str) -> str:
    """Return the beginning of a text: shorter than the row, so that it is not found by being the same."""
    words = text.split()
    return " ".join(words[: max(3, len(words) // 3)]) if len(words) > 3 else text[: max(4, len(text) // 2)]


def _filtered(one: Dense, asked: list[str], k: int, allowed: frozenset[str]) -> float:
    """Return the share of the true neighbours among the allowed rows that a retriever finds of its own vectors."""
    ids, vectors = _of(one, allowed)
    there, queries = with_direction(one.encoder, asked, role="query")
    scores = queries @ vectors.T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    true = [[(ids[row], float(of[row])) for row in rows] for rows, of in zip(best.tolist(), scores, strict=True)]
    found = one.nearest([asked[place] for place in there], k, allowed=allowed)
    return _mean(_shared(wanted, other, _TIE) for wanted, other in zip(true, found, strict=True))


def _of(one: Dense, allowed: frozenset[str]) -> tuple[list[str], Vectors]:
    ids: list[str] = []
    parts: list[Vectors] = []
    for batch, vectors in one.vectors():
        rows = [row for row, key in enumerate(batch) if key in allowed]
        ids += [batch[row] for row in rows]
        parts.append(vectors[rows])
    return ids, np.concatenate(parts)


def _shared(wanted: Ranked, found: Ranked, tie: float) -> float:
    """Return the share of `wanted` that was found, or has the score of the last that was."""
    ids, last = {key for key, _ in found}, found[-1][1] if found else np.inf
    return sum(key in ids or abs(score - last) <= tie for key, score in wanted) / max(1, len(wanted))


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return float(np.mean(found)) if found else 0.0
