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
from mercat.indexes.faiss.segments import Marked, Originals, Snapshot, TailView, View
from mercat.indexes.faiss.structures import Asked, Results
from mercat.indexes.kinds import FLAT, candidates
from mercat.indexes.scan import RowNumbers

GATHER_ROWS = 2000  # so few allowed rows are compared one by one, whatever their share
_GATHER_SHARE = 0.02
_SCAN_SHARE = 0.3  # of a flat segment, with more allowed a scan that passes over the others is quicker than copying
_TRIED = 10  # of the sample, the best
Mask = NDArray[np.bool_]


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
        may = _eligible(view, wanted)
        eligible += may.count
        if may.count and len(queries):
            parts.append(_Part(number, *_in_view(view, queries, min(k, may.count), may)))
    tail_rows = _eligible_in_tail(snapshot.tail, wanted)
    count = snapshot.tail.total if tail_rows is None else len(tail_rows)
    eligible += count
    if count and len(queries):
        scores, rows = _in_tail(snapshot.tail, queries, min(k, count), tail_rows)
        parts.append(_Part(-1, scores, rows, np.ones(len(queries), dtype=np.bool_)))
    if not parts:
        return [Found([], [], eligible, True) for _ in queries]
    return _best(snapshot, parts, k, eligible)


@dataclass(frozen=True, slots=True)
class _May:
    """Which rows of a view may be found: `only` them, None for all; with a filter also what it allows at all."""

    count: int
    only: Bits | None
    marked: Marked | None = None

    def rows(self, total: int) -> RowNumbers:
        """Return the rows in order."""
        if self.marked is not None and self.only is self.marked.bits:
            return self.marked.rows
        return np.arange(total) if self.only is None else sets.rows_of(self.only, total)

    def vectors(self, originals: Originals, rows: RowNumbers) -> Vectors:
        """Return the vectors of `rows`, which are those that `rows` returned: shape (rows, dimensions)."""
        if self.marked is not None and self.only is self.marked.bits:
            return self.marked.vectors()
        return originals.take(rows)


def _eligible(view: View, wanted: frozenset[str] | None) -> _May:
    if wanted is None:
        return _May(view.live, view.alive)
    marked = view.segment.marked(wanted)
    only = marked.bits if view.alive is None else marked.bits & view.alive
    count = marked.count if view.alive is None else sets.count(only)
    return _May(count, view.alive) if count == view.live else _May(count, only, marked)


def _eligible_in_tail(tail: TailView, wanted: frozenset[str] | None) -> RowNumbers | None:
    if wanted is None:
        return None if tail.alive is None else tail.rows()
    ids = tail.ids
    return np.array([row for row in tail.rows().tolist() if ids[row] in wanted], dtype=np.int64)


def _in_view(view: View, queries: Vectors, k: int, may: _May) -> tuple[Vectors, RowNumbers, Mask]:
    segment, originals = view.segment, view.segment.originals
    every = np.ones(len(queries), dtype=np.bool_)
    if may.only is not None and may.count <= max(GATHER_ROWS, _GATHER_SHARE * len(segment)):
        return *_compared(originals, queries, k, may), every
    if segment.structure is None:
        return *_flat(originals, queries, k, may), every
    wide = min(may.count, k * candidates(segment.kind, dimensions=queries.shape[1]))
    asked = Asked(queries, k, wide, may.only, may.count / len(segment), may.marked.memo if may.marked else {})
    scores, rows = segment.structure.search(asked)
    if segment.structure.rounded:
        scores, rows = _compared_again(originals, queries, k, rows)
    short: Mask = np.asarray((rows < 0).any(axis=1)) if rows.shape[1] == k else every
    if may.marked is not None:
        short = short | _missed(may, queries, scores[:, -1], rows)
    if short.any():
        scores, rows = _repeated(scores, rows, short, _flat(originals, queries[short], k, may))
    return scores, rows, every if segment.kind == FLAT else short


def _missed(may: _May, queries: Vectors, worst: Vectors, found: RowNumbers) -> Mask:
    """Say for which queries a sample of what may be found has a row that should have been found and was not."""
    missed = np.zeros(len(queries), dtype=np.bool_)
    if may.marked is None or may.only is None:
        return missed
    rows, vectors = may.marked.sample
    scores, places = faiss.knn(queries, vectors, min(_TRIED, len(rows)), metric=faiss.METRIC_INNER_PRODUCT)
    for query, place in zip(*np.nonzero(scores > worst[:, None] + 1e-6), strict=True):
        row = rows[places[query, place]]
        missed[query] |= row not in found[query] and bool(sets.has(may.only, row[None])[0])
    return missed


def _repeated(scores: Vectors, rows: RowNumbers, short: Mask, anew: Results) -> Results:
    """Put what was found by a second, exact search in the place of what was too little."""
    if short.all():
        return anew
    scores[short], rows[short] = anew
    return scores, rows


def _flat(originals: Originals, queries: Vectors, k: int, may: _May) -> Results:
    """Compare with all rows that may be found."""
    if may.only is not None and may.count < _SCAN_SHARE * len(originals):
        return _compared(originals, queries, k, may)
    selector = {} if may.only is None else {"sel": faiss.IDSelectorBitmap(may.only)}
    scores, rows = originals.flat.search(queries, k, params=faiss.SearchParameters(**selector))
    return scores, rows


def _compared(originals: Originals, queries: Vectors, k: int, may: _May) -> Results:
    """Compare with the rows that may be found one by one."""
    rows = may.rows(len(originals))
    scores, places = faiss.knn(queries, may.vectors(originals, rows), k, metric=faiss.METRIC_INNER_PRODUCT)
    return scores, rows[places]


def _in_tail(tail: TailView, queries: Vectors, k: int, rows: RowNumbers | None) -> Results:
    """Compare with some rows of the tail, None for all."""
    some = tail.vectors if rows is None else tail.vectors[rows]
    scores, places = faiss.knn(queries, some, k, metric=faiss.METRIC_INNER_PRODUCT)
    return scores, places if rows is None else rows[places]


def _compared_again(originals: Originals, queries: Vectors, k: int, rows: RowNumbers) -> Results:
    """Return the best `k` candidates by their true scores; padding is last."""
    scores = originals.scores(queries, rows)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    query = np.arange(len(rows))[:, None]  # quicker than take_along_axis for one query
    return scores[query, order], rows[query, order]


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
