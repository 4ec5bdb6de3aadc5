"""A map from item texts to the collaborative space, so that items nobody touched yet live there too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


def fit_map(vectors: Rows, coordinates: Rows, counts: NDArray[np.float64], *, strength: float = 3.0) -> Rows:
    """Return W of shape (dimensions of texts, of coordinates) with `vectors @ W` near `coordinates`: ridge regression.

    Items count by log(1 + events); `strength` is the penalty per unit of mean weight.
    """
    weights = np.log1p(counts)
    used = weights > 0
    if not used.any():
        return np.zeros((vectors.shape[1], coordinates.shape[1]), dtype=np.float32)
    weights = weights[used] / weights[used].mean()
    x, y = vectors[used].astype(np.float64), coordinates[used].astype(np.float64)
    left = (x * weights[:, None]).T @ x
    left[np.diag_indices(len(left))] += strength
    return np.linalg.solve(left, (x * weights[:, None]).T @ y).astype(np.float32)


def placed(vectors: Rows, coordinates: Rows, counts: NDArray[np.float64], mapping: Rows, *, prior: float = 5.0) -> Rows:
    """Return one place per item: its own coordinates as far as events support them, the mapped text for the rest."""
    share = (counts / (counts + prior)).astype(np.float32)[:, None]
    return np.asarray(share * coordinates + (1 - share) * (vectors @ mapping), dtype=np.float32)
