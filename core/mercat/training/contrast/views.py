"""The objective without labels: two views of a text, whole and with words missing, are nearer than those of two texts.

Gao et al. 2021, https://arxiv.org/abs/2104.08821 (SimCSE: dropout alone makes two views), with the noise of Wang et al.
2021, https://arxiv.org/abs/2104.06979 (TSDAE: tokens are deleted), whose decoder costs more than a small encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.training.contrast.embedder import Embedder, Ids
from mercat.training.contrast.grouped import contrast
from mercat.training.contrast.search import Search, figures_of
from mercat.training.loop.objective import Step


class Views:
    """Contrast over texts and what is left of them when each token is deleted with the probability `deletion`.

    `first` leading tokens of every text, marks and the encoder's prefix, and the last one are never deleted. Validates
    by `search`.
    """

    def __init__(
        self, ids: Sequence[Ids], *, first: int, deletion: float, search: Search[Ids], temperature: float
    ) -> None:
        self.ids, self.search = ids, search
        self._first, self._deletion, self._temperature = first, deletion, temperature

    @property
    def lengths(self) -> Sequence[int]:
        """The same for all rows: texts are sorted by length inside a batch."""
        return [1] * len(self.ids)

    def step(self, model: torch.nn.Module, rows: NDArray[np.int64]) -> Step:
        """Return the contrast over both views of these texts."""
        assert isinstance(model, Embedder)
        whole = [self.ids[row] for row in rows]
        chances = torch.rand(sum(len(ids) for ids in whole)).numpy()
        ends = np.cumsum([len(ids) for ids in whole])[:-1]
        left = [
            thinned(ids, part, first=self._first, deletion=self._deletion)
            for ids, part in zip(whole, np.split(chances, ends), strict=True)
        ]
        vectors = model([*whole, *left])
        groups = torch.arange(len(whole), device=vectors.device).repeat(2)
        return contrast(vectors, groups, temperature=self._temperature)

    def validate(self, model: torch.nn.Module) -> Mapping[str, float]:
        """Return how well thinned texts find the whole ones."""
        assert isinstance(model, Embedder)
        return figures_of(self.search, model.arrays, temperature=self._temperature)


def thinned(ids: Ids, chances: NDArray[np.float32], *, first: int, deletion: float) -> list[int]:
    """Return the tokens whose chance, shape (tokens,), is not below `deletion`; at least one that says something."""
    last = len(ids) - 1
    inner = range(min(first, last), last)
    kept = [place for place in inner if chances[place] >= deletion]
    if not kept and len(inner):
        kept = [max(inner, key=lambda place: float(chances[place]))]
    return [*ids[: inner.start], *(ids[place] for place in kept), *ids[last:]]
