"""From features to a list of items: what the service and the evaluation share, so that both judge the same thing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mercat_recommendation.features import SHARED
from mercat_recommendation.ranker import Blend
from mercat_recommendation.spread import mmr, pool_size, top, with_discovery

_HEAD_SHARE = 0.15  # the most popular share of the catalogue, where there is nothing to discover
_FEW = 2  # with fewer items of one's own there is too little to discover from


@dataclass(frozen=True, slots=True)
class Listing:
    """How a list is made: the blend, places for discovery among each ten, likeness traded against score."""

    blend: Blend
    places: int = 0
    diversity: float = 0.0

    def pick(
        self,
        features: NDArray[np.float32],
        open_: NDArray[np.bool_],
        vectors: NDArray[np.float32],
        *,
        k: int,
        own_items: int,
        diversity: float | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], frozenset[int]]:
        """Return the numbers of at most `k` open items in order, all scores, and which came by discovery.

        `features` has shape (items, NAMES); `own_items` is how many items of theirs are known.
        """
        scores = self.blend.scores(features)
        wanted = self.diversity if diversity is None else diversity
        ranked = top(scores, open_, pool_size(k) if wanted > 0 else k)
        listed = mmr(ranked, scores, vectors, k, diversity=wanted)
        if not self.places or own_items < _FEW:
            return listed, scores, frozenset()
        everyday = features[:, SHARED.index("popular_all")]
        tail = open_ & (everyday < np.quantile(everyday, 1 - _HEAD_SHARE))
        finds = top(self.blend.discovery(features), tail, k)
        numbers, came = with_discovery(listed, finds, k=k, places=self.places)
        return numbers, scores, came
