"""How well an encoder finds what belongs together: an exact search among all candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mercat.encoders.base import Vectors
from mercat.heads.calibrate import softmax

T = TypeVar("T")
BEST = 10
"""How many hits of a query are looked at."""
_AT_ONCE = 512
_LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Search(Generic[T]):
    """Queries and candidates, texts or their token ids, with the number of each one's group, shapes (rows,).

    A query has found what it should where a candidate is of its group. With `itself` the queries are the first
    candidates too, and none of them finds itself.
    """

    queries: Sequence[T]
    query_groups: NDArray[np.int64]
    candidates: Sequence[T]
    candidate_groups: NDArray[np.int64]
    itself: bool = False

    def compared(self, queries: Vectors, found: Vectors) -> Iterator[tuple[Vectors, NDArray[np.bool_]]]:
        """Yield, for some queries at a time, cosines with all candidates and which of them are of the query's group.

        Both have the shape (queries, candidates).
        """
        for start in range(0, len(queries), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            cosines = queries[part] @ found.T
            alike = self.query_groups[part, None] == self.candidate_groups[None, :]
            if self.itself:
                rows = np.arange(len(cosines))
                cosines[rows, start + rows], alike[rows, start + rows] = -np.inf, False
            yield cosines, alike

    def ranks(self, queries: Vectors, found: Vectors) -> Vectors:
        """Return the rank, from 1, of the nearest candidate of each query's group; infinite where there is none.

        Candidates of other groups that are as near come first. The shape is (queries,).
        """
        places = [np.zeros(0, dtype=np.float32)]
        for cosines, alike in self.compared(queries, found):
            best = np.where(alike, cosines, -np.inf).max(axis=1, initial=-np.inf)
            before = ((cosines >= best[:, None]) & ~alike).sum(axis=1)
            places.append(np.where(alike.any(axis=1), before + 1.0, np.inf).astype(np.float32))
        return np.concatenate(places)


def figures_per_query(places: Vectors) -> dict[str, NDArray[np.float64]]:
    """Return "recall@1" and "mrr@10" of each query from the rank of its first right hit, each of shape (queries,)."""
    with np.errstate(divide="ignore"):
        return {
            "recall@1": (places == 1).astype(np.float64),
            f"mrr@{BEST}": np.where(places <= BEST, 1.0 / places, 0.0).astype(np.float64),
        }


def figures_of(search: Search[T], encode: Callable[[Sequence[T]], Vectors], *, temperature: float) -> dict[str, float]:
    """Return the means of both figures, and as "loss" -log of the share that the right candidates take.

    Queries without a right candidate find nothing, and do not count for the loss.
    """
    queries, found = encode(search.queries), encode(search.candidates)
    losses = [np.zeros(0)]
    for cosines, alike in search.compared(queries, found):
        known = alike.any(axis=1)
        shares = softmax(cosines[known] / temperature)
        losses.append(-np.log((shares * alike[known]).sum(axis=1) + _LEAST))
    each = figures_per_query(search.ranks(queries, found))
    means = {name: float(row.mean()) for name, row in each.items()}
    loss = np.concatenate(losses)
    return {"loss": float(loss.mean()) if len(loss) else 0.0, **means}


def nearest_others(
    search: Search[T], queries: Vectors, found: Vectors, *, count: int, ceiling: float
) -> NDArray[np.int64]:
    """Return for each query the numbers of the `count` nearest candidates of other groups: shape (queries, count).

    One that is nearer than `ceiling` times the cosine of the nearest of the query's own group is likely to belong
    there, and is passed over (Moreira et al. 2024, https://arxiv.org/abs/2407.15831). -1 where none is left.
    """
    chosen = [np.zeros((0, count), dtype=np.int64)]
    for cosines, alike in search.compared(queries, found):
        own = np.where(alike, cosines, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
        own = np.where(np.isfinite(own), own, np.inf)
        others = np.where(alike | (cosines > ceiling * own), -np.inf, cosines)
        order = np.argsort(-others, axis=1, kind="stable")[:, :count]
        taken = np.where(np.isfinite(np.take_along_axis(others, order, axis=1)), order, -1)
        chosen.append(np.pad(taken, ((0, 0), (0, count - taken.shape[1])), constant_values=-1))
    return np.concatenate(chosen)
