"""Hard negatives: the texts that the encoder itself takes for near, and that are not.

Xiong et al. 2021, https://arxiv.org/abs/2007.00808 (searched for by the model that learns, again after each epoch).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from mercat.training.contrast.embedder import Embedder
from mercat.training.contrast.grouped import Grouped
from mercat.training.contrast.search import Search, nearest_others


class Mining:
    """Fills `objective.mined` with the `count` nearest partners of other groups for each anchor, by an exact search.

    It does so before the first update, and again every `every` updates; 0: never again. What was found is kept with the
    checkpoints, because the weights that found it are gone by then.
    """

    def __init__(self, objective: Grouped, model: Embedder, *, count: int, ceiling: float, every: int) -> None:
        self._objective, self._model = objective, model
        self._count, self._ceiling, self._every = count, ceiling, every

    def mine(self) -> None:
        """Search with the model as it is."""
        objective, texts = self._objective, self._objective.texts
        asked, found = objective.anchors, objective.partners
        search = Search(asked.tolist(), texts.groups[asked], found.tolist(), texts.groups[found])
        vectors = [self._model.arrays([texts.ids[number] for number in numbers]) for numbers in (asked, found)]
        places = nearest_others(search, *vectors, count=self._count, ceiling=self._ceiling)
        objective.mined = np.where(places >= 0, found[places], -1)

    def penalty(self) -> torch.Tensor:
        """Return nothing: what was mined is in the objective's batches."""
        return torch.zeros((), device=next(self._model.parameters()).device)

    def stepped(self, updates: int) -> None:
        """Search again when it is time."""
        if self._every and updates % self._every == 0:
            self.mine()

    def state(self) -> Mapping[str, torch.Tensor]:
        """Return what was found, shape (anchors, count)."""
        return {"mined": torch.from_numpy(self._objective.mined)}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over what was found before."""
        self._objective.mined = state["mined"].numpy()

    def note(self) -> str:
        """Return how many anchors have a hard negative."""
        mined = self._objective.mined
        hard = int(np.count_nonzero((mined >= 0).any(axis=1)))
        return f"{hard} of {len(mined)} rows have hard negatives"
