"""Vectors for the benchmarks of indexes: drawn like texts of many topics, from a stated seed; and what is true of them.

A row is a topic (Zipf's law says which), a variation in 64 directions that all topics share, and noise, brought to
length 1. Questions are further rows of the same kind that the index does not hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.frame import Missing

WIDTH, SEED, K = 384, 17, 10
STATED = f"2,000 topics, 64 shared directions, noise; {WIDTH} wide, seed {SEED}"
_TOPICS, _DIRECTIONS, _BLOCK = 2000, 64, 50_000
Vectors = NDArray[np.float32]


def drawn(rows: int, *, seed: int = SEED, part: int = 0) -> Vectors:
    """Return unit vectors of shape (rows, WIDTH); parts of one seed share topics and are drawn apart."""
    world = np.random.default_rng(seed)
    topics, directions = _unit(_normal(world, _TOPICS)), _unit(_normal(world, _DIRECTIONS))
    draw = np.random.default_rng([seed, part])
    weights = 1 / np.arange(1, _TOPICS + 1) ** 0.7
    made = np.empty((rows, WIDTH), dtype=np.float32)
    for start in range(0, rows, _BLOCK):
        count = min(_BLOCK, rows - start)
        topic = topics[draw.choice(_TOPICS, count, p=weights / weights.sum())]
        varied = _unit(draw.standard_normal((count, _DIRECTIONS), dtype=np.float32) @ directions)
        made[start : start + count] = _unit(topic + 0.8 * varied + 0.4 * _unit(_normal(draw, count)))
    return made


def names(rows: int, *, start: int = 0) -> list[str]:
    return [f"document-{row}" for row in range(start, start + rows)]


def neighbours(rows: Vectors, queries: Vectors, k: int = K) -> NDArray[np.int64]:
    """Return the true neighbours, of shape (queries, k)."""
    faiss = library()
    _, found = faiss.knn(queries, rows, min(k, len(rows)), metric=faiss.METRIC_INNER_PRODUCT)
    return np.asarray(found)


def recall(found: Sequence[Sequence[Any]], true: Sequence[Sequence[Any]]) -> float:
    """Return the mean share of the true neighbours that was found."""
    return float(np.mean([len(set(a) & set(b)) / max(1, len(b)) for a, b in zip(found, true, strict=True)]))


def library() -> Any:
    """Return FAISS on one thread. Raises Missing."""
    try:
        import faiss
    except ImportError as error:
        raise Missing("needs FAISS: pip install 'mercat[cpu]'") from error
    faiss.omp_set_num_threads(1)
    return faiss


def timed(act: Callable[[], Any]) -> float:
    """Return the seconds that something took."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def each_timed(act: Callable[[Vectors], Any], queries: Vectors) -> list[float]:
    """Return the seconds of each question asked alone."""
    return [timed(lambda query=query: act(query)) for query in queries[:, None, :]]


def _normal(draw: np.random.Generator, rows: int) -> Vectors:
    return draw.standard_normal((rows, WIDTH), dtype=np.float32)


def _unit(rows: Vectors) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
