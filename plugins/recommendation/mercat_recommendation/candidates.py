"""Which items are scored for one request: near by text, popular of late, tied to what was touched. Each has a quota."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from mercat_recommendation.collaborative import recency
from mercat_recommendation.features import History
from mercat_recommendation.spread import top
from mercat_recommendation.ties import Ties

Numbers = NDArray[np.int64]

INDEX, POPULAR, TIED = "index", "popular", "tied"
SHARES: Mapping[str, float] = {TIED: 0.4, INDEX: 0.35, POPULAR: 0.25}
"""The share of the candidates that each source may fill before the others; what one leaves goes to all."""

_LATEST = 3  # items whose own neighbours are asked for, beside those of the profile
_HALF_LIFE = 20.0  # items, as in the features


@dataclass(frozen=True, slots=True)
class Candidates:
    """`open` has shape (items,) and says which are scored; `found_by` names the sources, empty where all are scored."""

    open: NDArray[np.bool_]
    found_by: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


def questions(history: History, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what an index is asked for somebody: the mean of the texts they touched, then the latest ones themselves.

    Shape (at most 4, dimensions); `vectors` are the items'. Rows without a direction are left out.
    """
    liked = history.liked
    if not len(liked):
        return np.zeros((0, vectors.shape[1]), dtype=np.float32)
    weights = recency(len(liked), half_life_items=_HALF_LIFE) * history.strength
    profile = (weights[:, None] * vectors[liked]).sum(axis=0)
    asked = np.vstack([profile[None, :], vectors[liked[: -_LATEST - 1 : -1]]])
    return np.asarray(asked[np.linalg.norm(asked, axis=1) > 0], dtype=np.float32)


def tied(history: History, ties: Ties, open_: NDArray[np.bool_], *, size: int) -> Numbers:
    """Return the open items with the strongest ties to a history: those of EASE, and in turn of likeness by users."""
    weights = recency(len(history.liked), half_life_items=_HALF_LIFE) * history.strength
    scores = [kept.scores(history.liked, weights) for kept in (ties.ease, ties.alike)]
    return in_turn([top(row, open_ & (row > 0), size) for row in scores])[:size]


def in_turn(lists: Iterable[Numbers]) -> Numbers:
    """Return the first of each list, then the second of each, and so on; every number once."""
    rows = zip_longest(*(each.tolist() for each in lists))
    found = dict.fromkeys(number for row in rows for number in row if number is not None)
    return np.array(list(found), dtype=np.int64)


def merged(lists: Mapping[str, Numbers], *, size: int, items: int) -> Candidates:
    """Take from each list, best first, its share of `size`; what is left over is taken from all lists in turn.

    `items` is the size of the catalogue. An item that several lists hold counts once and keeps all their names.
    """
    taken: dict[int, None] = {}
    for name, numbers in lists.items():
        fresh = [number for number in numbers.tolist() if number not in taken]
        taken |= dict.fromkeys(fresh[: round(SHARES[name] * size)])
    rest = [number for number in in_turn(lists.values()).tolist() if number not in taken]
    taken |= dict.fromkeys(rest[: max(0, size - len(taken))])
    names: dict[int, tuple[str, ...]] = {}
    for name, numbers in lists.items():
        for number in numbers.tolist():
            if number in taken:
                names[number] = (*names.get(number, ()), name)
    open_ = np.zeros(items, dtype=np.bool_)
    open_[list(taken)] = True
    return Candidates(open_, names)
