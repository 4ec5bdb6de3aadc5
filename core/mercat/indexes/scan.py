"""Exact search: multiply the queries with blocks of rows and keep the best of each, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from mercat.indexes.base import Vectors

RowNumbers = NDArray[np.int64]
Best = tuple[RowNumbers, NDArray[np.float32]]  # rows and scores of one query, best first

_QUERIES = 256  # at once: the scores of one block take at most 256 x 65,536 x 4 bytes = 64 MiB
_CONTIGUOUS = 65_536
_GATHERED = 8_192  # small enough that a gathered block (12 MiB at 384 wide) is still in the cache when multiplied


def scan(queries: Vectors, blocks: Callable[[], Iterable[tuple[RowNumbers, Vectors]]], k: int) -> list[Best]:
    """Return the best `k` rows of all blocks for each query; equal scores in the order of rows."""
    found: list[Best] = []
    for start in range(0, len(queries), _QUERIES):
        found += _scan_some(queries[start : start + _QUERIES], blocks(), k)
    return found


def contiguous(vectors: Vectors) -> Iterator[tuple[RowNumbers, Vectors]]:
    """Cut an array of rows into blocks, without copying. The vectors have shape (rows of the block, dimensions)."""
    for start in range(0, len(vectors), _CONTIGUOUS):
        block = vectors[start : start + _CONTIGUOUS]
        yield np.arange(start, start + len(block)), block


def gathered(rows: RowNumbers, take: Callable[[RowNumbers], Vectors]) -> Iterator[tuple[RowNumbers, Vectors]]:
    """Cut some rows of an array into blocks; `take` copies them out.

    The vectors have shape (rows of the block, dimensions).
    """
    for start in range(0, len(rows), _GATHERED):
        block = rows[start : start + _GATHERED]
        yield block, take(block)


def _scan_some(queries: Vectors, blocks: Iterable[tuple[RowNumbers, Vectors]], k: int) -> list[Best]:
    rows = np.empty((len(queries), 0), dtype=np.int64)
    scores = np.empty((len(queries), 0), dtype=np.float32)
    for block_rows, block in blocks:
        all_scores = queries @ block.T
        keep = _largest(all_scores, k)
        scores = np.hstack([scores, np.take_along_axis(all_scores, keep, axis=1)])
        rows = np.hstack([rows, block_rows[keep]])
        if scores.shape[1] > 4 * k:
            keep = _largest(scores, k)
            scores, rows = np.take_along_axis(scores, keep, axis=1), np.take_along_axis(rows, keep, axis=1)
    return [_ordered(r, s, k) for r, s in zip(rows, scores, strict=True)]


def _largest(scores: NDArray[np.float32], k: int) -> RowNumbers:
    columns = scores.shape[1]
    if k >= columns:
        return np.broadcast_to(np.arange(columns), scores.shape)
    return np.argpartition(scores, columns - k, axis=1)[:, columns - k :]


def _ordered(rows: RowNumbers, scores: NDArray[np.float32], k: int) -> Best:
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]
