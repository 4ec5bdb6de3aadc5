"""How a snapshot is searched: a plan per segment by how many rows may be found there, then the best of all segments.

Few allowed rows are compared one by one, which is exact. Of many, the structure finds the best ones, looking further
the smaller their share is. An answer with too few, or one that a sample of the allowed rows shows to be wrong (what is
allowed may lie far from the question), is found again by comparing with all that may be found.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mercat.indexes import bits as sets
from mercat.indexes.base import Found, Vectors
from mercat.indexes.bits import Bits
from mercat.indexes.faiss.library import faiss
from mercat.indexes.faiss.segments import Originals, Snapshot, TailView, View
from mercat.indexes.faiss.structures import Results
from mercat.indexes.kinds import FLAT
from mercat.indexes.scan import RowNumbers

GATHER_ROWS = 2000  # so few allowed rows are compared one by one, whatever their share
_GATHER_SHARE = 0.02
_SCAN_SHARE = 0.3  # of a flat segment, with more allowed a scan that passes over the others is quicker than copying
_SAMPLE = 256  # allowed rows that the answer of a structure is tried on
Mask = NDArray[np.bool_]
_CANDIDATES = {"SQ8": 2, "PQ": 8}  # times k that a rounding structure is asked for


@dataclass(frozen=True, slots=True)
class _Part:
    """What one segment, or the tail, found."""

    number: int  # of the view; -1 is the tail
    scores: Vectors
    rows: RowNumbers
    exact: Mask  # by query


def search(snapshot: Snapshot, queries: Vectors, k: int, allowed: Collection[str] | None) -> list[Found]:
    """Return one Found per row of `queries`, of shape (queries, dimensions)."""
    wanted = None if allowed is None else allowed if isinstance(allowed, frozenset) else frozenset(allowed)
    parts, eligible = [], 0
    for number, view in enumerate(snapshot.views):
        count, only = _eligible(view, wanted)
        eligible += count
        if count and len(queries):
            parts.append(
                _Part(number, *_in_view(view, queries, min(k, count), only, count, filtered=wanted is not None))
            )
    tail_rows = _eligible_in_tail(snapshot.tail, wanted)
    count = snapshot.tail.total if tail_rows is None else len(tail_rows)
    eligible += count
    if count and len(queries):
        scores, rows = _compared(snapshot.tail.vectors, queries, min(k, count), tail_rows)
        parts.append(_Part(-1, scores, rows, np.ones(len(queries), dtype=np.bool_)))
    if not parts:
        return [Found([], [], eligible, True) for _ in queries]
    return _best(snapshot, parts, k, eligible)


def _eligible(view: View, wanted: frozenset[str] | None) -> tuple[int, Bits | None]:
    """Return how many rows of a view may be found, and which: None for all."""
    if wanted is None:
        return view.live, view.alive
    marked = view.segment.marked(wanted)
    only = marked if view.alive is None else marked & view.alive
    return sets.count(only), only


def _eligible_in_tail(tail: TailView, wanted: frozenset[str] | None) -> RowNumbers | None:
    if wanted is None:
        return None if tail.alive is None else tail.rows()
    ids = tail.ids
    return np.array([row for row in tail.rows().tolist() if ids[row] in wanted], dtype=np.int64)


def _in_view(
    view: View, queries: Vectors, k: int, only: Bits | None, count: int, *, filtered: bool
) -> tuple[Vectors, RowNumbers, Mask]:
    segment, originals = view.segment, view.segment.originals
    share, every = count / len(segment), np.ones(len(queries), dtype=np.bool_)
    if only is not None and count <= max(GATHER_ROWS, _GATHER_SHARE * len(segment)):
        return *_gathered(originals, queries, k, sets.rows_of(only, len(segment))), every
    if segment.structure is None:
        return *_flat(originals, queries, k, only, share), every
    wide = min(count, k * _candidates(segment.kind))
    scores, rows = segment.structure.search(queries, wide, only=only, share=share)
    if segment.structure.rounded:
        scores, rows = _compared_again(originals, queries, rows)
    scores, rows = scores[:, :k], rows[:, :k]
    short: Mask = np.asarray((rows < 0).any(axis=1)) if rows.shape[1] == k else every
    if only is not None and filtered:
        short = short | _missed(originals, queries, scores[:, -1], rows, sets.rows_of(only, len(segment)))
    if short.any():
        scores, rows = _repeated(scores, rows, short, _flat(originals, queries[short], k, only, share))
    return scores, rows, every if segment.kind == FLAT else short


def _missed(originals: Originals, queries: Vectors, worst: Vectors, found: RowNumbers, allowed: RowNumbers) -> Mask:
    """Say which queries have, in a sample of the allowed rows, a better one than the worst found that was not found."""
    rows = np.random.default_rng(len(allowed)).choice(allowed, min(_SAMPLE, len(allowed)), replace=False)
    better = queries @ originals.take(rows).T > worst[:, None] + 1e-6
    if not better.any():
        return np.zeros(len(queries), dtype=np.bool_)
    known = np.array([np.isin(rows, one) for one in found])
    return np.asarray((better & ~known).any(axis=1))


def _repeated(scores: Vectors, rows: RowNumbers, short: Mask, anew: Results) -> Results:
    """Put what was found by a second, exact search in the place of what was too little."""
    if short.all():
        return anew
    scores[short], rows[short] = anew
    return scores, rows


def _candidates(kind: str) -> int:
    return next((times for code, times in _CANDIDATES.items() if f",{code}" in kind), 1)


def _flat(originals: Originals, queries: Vectors, k: int, only: Bits | None, share: float) -> Results:
    """Compare with all rows that may be found."""
    if only is None:
        scores, rows = originals.flat.search(queries, k)
        return scores, rows
    if share < _SCAN_SHARE:
        return _gathered(originals, queries, k, sets.rows_of(only, len(originals)))
    parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(only))
    scores, rows = originals.flat.search(queries, k, params=parameters)
    return scores, rows


def _gathered(originals: Originals, queries: Vectors, k: int, rows: RowNumbers) -> Results:
    scores, places = faiss.knn(queries, originals.take(rows), k, metric=faiss.METRIC_INNER_PRODUCT)
    return scores, rows[places]


def _compared(vectors: Vectors, queries: Vectors, k: int, rows: RowNumbers | None) -> Results:
    if rows is None:
        scores, places = faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
        return scores, places
    scores, places = faiss.knn(queries, vectors[rows], k, metric=faiss.METRIC_INNER_PRODUCT)
    return scores, rows[places]


def _compared_again(originals: Originals, queries: Vectors, rows: RowNumbers) -> Results:
    """Return candidates in the order of their true scores; padding stays last."""
    there = rows >= 0
    scores = np.full(rows.shape, -np.inf, dtype=np.float32)
    owners = np.nonzero(there)[0]
    scores[there] = np.einsum("ij,ij->i", originals.take(rows[there]), queries[owners])
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _best(snapshot: Snapshot, parts: Sequence[_Part], k: int, eligible: int) -> list[Found]:
    exact = np.logical_and.reduce([part.exact for part in parts]).tolist()
    if len(parts) == 1:
        part = parts[0]
        name = _namer(snapshot, part.number)
        return [
            Found(name(rows), scores, eligible, sure)
            for rows, scores, sure in zip(part.rows.tolist(), part.scores.tolist(), exact, strict=True)
        ]
    scores = np.hstack([part.scores for part in parts])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    widths = [part.rows.shape[1] for part in parts]
    owner = np.repeat(np.arange(len(parts)), widths)[order]
    rows = np.take_along_axis(np.hstack([part.rows for part in parts]), order, axis=1)
    best = np.take_along_axis(scores, order, axis=1)
    names = [_namer(snapshot, part.number) for part in parts]
    return [
        Found([names[who]([row])[0] for who, row in zip(owners, found, strict=True)], score, eligible, sure)
        for owners, found, score, sure in zip(owner.tolist(), rows.tolist(), best.tolist(), exact, strict=True)
    ]


def _namer(snapshot: Snapshot, number: int) -> Callable[[Sequence[int]], list[str]]:
    if number >= 0:
        return snapshot.views[number].segment.names.at
    ids = snapshot.tail.ids
    return lambda rows: [ids[row] for row in rows]
