"""How many lists a search has to look into, measured on the rows themselves when a segment is built.

For some rows as questions, the true neighbours are found by comparing with everything, and for each the place of its
list among the nearest lists. The neighbours of a search for `k` of a share `s` of rows lie among the nearest k/s of all
(if the filter has nothing to do with the question), so one measurement serves every filter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.indexes.base import Vectors
from mercat.indexes.faiss.library import faiss

TARGET = 0.985  # recall on the rows themselves; questions from elsewhere find a little less
_QUESTIONS = 128
_NEIGHBOURS = (10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True, slots=True)
class Effort:
    """Lists to look into, by number of neighbours; between two numbers the larger counts."""

    neighbours: tuple[int, ...]
    probes: tuple[int, ...]
    most: int

    def lists(self, k: int, share: float) -> int:
        """Return how many lists hold the best `k` of a share of all rows."""
        wanted = k / share
        for neighbours, probes in zip(self.neighbours, self.probes, strict=True):
            if wanted <= neighbours:
                return probes
        return min(self.most, round(self.probes[-1] * wanted / self.neighbours[-1]))

    def as_json(self) -> Mapping[str, Any]:
        return {"neighbours": list(self.neighbours), "probes": list(self.probes), "lists": self.most}

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Effort:
        return cls(tuple(details["neighbours"]), tuple(details["probes"]), int(details["lists"]))


def measured(vectors: Vectors, centroids: Vectors, list_of: NDArray[np.int32]) -> Effort:
    """Measure on vectors of shape (rows, dimensions) of which `list_of` says in the list of which centroid they are."""
    rows, number = len(vectors), len(centroids)
    asked = np.random.default_rng(rows).choice(rows, min(_QUESTIONS, rows), replace=False)
    queries = np.ascontiguousarray(vectors[asked])
    most = min(_NEIGHBOURS[-1], rows - 1)
    _, near = faiss.knn(queries, vectors, most + 1, metric=faiss.METRIC_INNER_PRODUCT)
    near = near[:, 1:]  # the first is the row itself
    places = np.argsort(np.argsort(-(queries @ centroids.T), axis=1), axis=1)
    place = np.take_along_axis(places, list_of[near], axis=1)
    counts = tuple(count for count in _NEIGHBOURS if count <= most) or (most,)
    probes = tuple(int(np.quantile(place[:, :count], TARGET, method="higher")) + 1 for count in counts)
    return Effort(counts, tuple(np.maximum.accumulate(probes).tolist()), number)
