"""The trained ranker as files: ties and vectors as arrays, the blend as JSON that a person can read."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import load_arrays, save_arrays
from mercat.errors import ArtifactError
from mercat_recommendation.features import NAMES
from mercat_recommendation.listing import Listing
from mercat_recommendation.protocol import Outcome
from mercat_recommendation.ranker import Blend
from mercat_recommendation.ties import Ties
from mercat_recommendation.walk import Way

FILE, VECTORS = "ranker.json", "vectors.safetensors"
_HISTORIES = (1, 5, 20)  # items of one's own, from which the next row of hit rates holds
_ENOUGH = 10


@dataclass(frozen=True, slots=True)
class RankModel:
    """What the service loads. `item_ids` and `texts` number the items of `ties`.

    `vectors` has shape (items, dimensions), one unit row per text; `hit_rates` has one entry per length of history: for
    none, and from 1, 5 and 20 items on.
    """

    way: Way
    blend: Blend
    ties: Ties
    item_ids: tuple[str, ...]
    texts: tuple[str, ...]
    vectors: NDArray[np.float32]
    hit_rates: tuple[float, ...]

    @property
    def listing(self) -> Listing:
        """The chosen blend with its places for discovery and its diversity."""
        return Listing(self.blend, self.way.places, self.way.diversity)

    def hit_rate(self, own_items: int) -> float:
        """Return how often, on validation, somebody with as many items took one of ten."""
        return self.hit_rates[bisect_right(_HISTORIES, own_items)]

    def save(self, folder: Path) -> None:
        """Write `ranker.json`, `vectors.safetensors` and `ties.safetensors`."""
        self.ties.save(folder)
        save_arrays(folder / VECTORS, {"vectors": self.vectors})
        rows: dict[str, Any] = {
            "way": json.loads(self.way.name),
            "weights": dict(zip(self.blend.names, self.blend.weights.tolist(), strict=True)),
            "hit_rates": list(self.hit_rates),
            "items": self.item_ids,
            "texts": self.texts,
        }
        (folder / FILE).write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> RankModel:
        """Read what `save` wrote. Raises ArtifactError for a ranker trained with other features."""
        if not (folder / FILE).is_file():
            raise ArtifactError(f"A ranker is read from '{folder.name}'", f"It has no {FILE}", "mercat train RECIPE")
        read: Mapping[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
        names = tuple(read["weights"])
        if names != NAMES:
            other = sorted(set(names) ^ set(NAMES)) or ["their order"]
            raise ArtifactError(
                "This ranker was trained with other features", f"Different: {', '.join(other)}", "mercat train RECIPE"
            )
        return cls(
            Way(**read["way"]),
            Blend(np.array(list(read["weights"].values()), dtype=np.float32)),
            Ties.load(folder),
            tuple(read["items"]),
            tuple(read["texts"]),
            load_arrays(folder / VECTORS)["vectors"],
            tuple(read["hit_rates"]),
        )


def hit_rates(warm: Outcome, cold: Outcome, popular: Outcome) -> tuple[float, ...]:
    """Return the share of lists with a hit: without history, then from each of 1, 5 and 20 items of one's own.

    Where there are fewer than ten lists, that of all counts; without history, that of popularity shown to everybody.
    """
    hits, sizes = np.array(warm.hits()), np.array(warm.histories)
    overall = float(hits.mean()) if len(hits) else 0.0
    bounds: Sequence[int] = (*_HISTORIES, np.iinfo(np.int64).max)
    found = [_mean(np.array(cold.hits()), _mean(np.array(popular.hits()), 0.0))]
    for low, high in pairwise(bounds):
        found.append(_mean(hits[(sizes >= low) & (sizes < high)], overall))
    return tuple(found)


def _mean(hits: NDArray[np.float64], otherwise: float) -> float:
    return float(hits.mean()) if len(hits) >= _ENOUGH else otherwise
