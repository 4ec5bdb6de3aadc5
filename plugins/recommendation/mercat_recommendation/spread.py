"""From scores to a list: places for discovery, and likeness traded against score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_POOL = 5  # times k: how far down the list spreading looks


def top(scores: NDArray[np.float32], open_: NDArray[np.bool_], k: int) -> NDArray[np.int64]:
    """Return the numbers of the best `k` open items; equal scores keep the order of the catalogue.

    The shape is (at most k,).
    """
    numbers = np.flatnonzero(open_)
    if len(numbers) > 4 * k > 0:
        bound = np.partition(scores[numbers], len(numbers) - k)[len(numbers) - k]
        numbers = numbers[scores[numbers] >= bound]
    return numbers[np.argsort(-scores[numbers], kind="stable")][:k]


def mmr(
    ranked: NDArray[np.int64], scores: NDArray[np.float32], vectors: NDArray[np.float32], k: int, *, diversity: float
) -> NDArray[np.int64]:
    """Pick `k` of `ranked` one by one: (1 - diversity) x score - diversity x likeness to the nearest one picked.

    Maximal marginal relevance (Carbonell and Goldstein 1998). Scores are scaled to [0, 1] over `ranked`; `vectors` are
    unit rows of the catalogue. The shape is (at most k,).
    """
    if diversity <= 0 or len(ranked) <= 1:
        return ranked[:k]
    own = scores[ranked].astype(np.float64)
    own = (own - own.min()) / max(float(own.max() - own.min()), 1e-9)
    rows = vectors[ranked]
    nearest, picked = np.zeros(len(ranked)), list[int]()
    left = np.ones(len(ranked), dtype=np.bool_)
    for _ in range(min(k, len(ranked))):
        gain = np.where(left, (1 - diversity) * own - diversity * nearest, -np.inf)
        best = int(np.argmax(gain))
        picked.append(best)
        left[best] = False
        nearest = np.maximum(nearest, rows @ rows[best])
    return ranked[picked]


def pool_size(k: int) -> int:
    """Return how many of the best items spreading chooses from."""
    return _POOL * k


def with_discovery(
    listed: NDArray[np.int64], finds: NDArray[np.int64], *, k: int, places: int
) -> tuple[NDArray[np.int64], frozenset[int]]:
    """Give the last `places` of each ten to `finds`, as far as there are any; return the list and who came so.

    The list has shape (at most k,).
    """
    main, rest = iter(listed.tolist()), iter(finds.tolist())
    found: dict[int, None] = {}
    came: set[int] = set()
    while len(found) < k:
        number = None
        if len(found) % 10 >= 10 - places:
            number = next((each for each in rest if each not in found), None)
            if number is not None:
                came.add(number)
        if number is None:
            number = next((each for each in main if each not in found), None)
        if number is None:
            break
        found[number] = None
    return np.array(list(found), dtype=np.int64), frozenset(came)
