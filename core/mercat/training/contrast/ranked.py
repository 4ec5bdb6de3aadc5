"""Groups of texts learned by a loss of sentence-transformers: partners ranked above others, or triplets.

What is drawn and mined is as in `Grouped`; so is how well a model does on validation rows, its "loss" among it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.training.contrast.embedder import Embedder
from mercat.training.contrast.grouped import Grouped, Texts
from mercat.training.contrast.losses import Computed, library_loss, needs_of
from mercat.training.loop.objective import Step


class ByLibrary(Grouped):
    """`Grouped`, but that `computed` gives the loss of the vectors of a batch; `more` is what `Grouped` takes."""

    def __init__(self, texts: Texts, *, computed: Computed, **more: Any) -> None:
        super().__init__(texts, **more)
        self._computed = computed

    def columns(self, model: Embedder, numbers: Sequence[NDArray[np.int64]]) -> list[torch.Tensor]:
        """Return the vectors of texts, column by column, each of shape (texts of the column, dimensions).

        A text that is there twice is encoded once.
        """
        unique, place = np.unique(np.concatenate(numbers), return_inverse=True)
        vectors = model([self.texts.ids[number] for number in unique])
        found = vectors[torch.from_numpy(place).to(vectors.device)]
        return list(torch.split(found, [len(column) for column in numbers]))


class Batched(ByLibrary):
    """The loss compares all texts of a batch by their groups: anchors, partners and what was mined."""

    def compared(self, vectors: torch.Tensor, groups: torch.Tensor) -> Step:
        """Return the library's loss; a batch of a single group costs nothing."""
        if not (groups != groups[0]).any():
            return Step(0.0 * vectors.sum())
        return Step(self._computed([vectors], groups))


class Ranked(ByLibrary):
    """Each anchor is to rank its partner above the partners of the batch's other anchors, and above what was mined.

    Of the anchors of one group only the first in a batch counts: the partners of the others are no negatives of it.
    """

    def step(self, model: torch.nn.Module, rows: NDArray[np.int64]) -> Step:
        """Return the library's loss over these anchors, their partners, and what was mined and is of no group here."""
        assert isinstance(model, Embedder)
        anchors = self.anchors[rows]
        partners = self._drawn(anchors)
        groups = self.texts.groups[anchors]
        first = np.sort(np.unique(groups, return_index=True)[1])
        mined = np.unique(self.mined[rows[first]])
        mined = mined[mined >= 0]
        mined = mined[~np.isin(self.texts.groups[mined], groups)]
        numbers = [anchors[first], partners[first], *([mined] if len(mined) else [])]
        return Step(self._computed(self.columns(model, numbers), None))


class Triplets(ByLibrary):
    """Each anchor is to be nearer to a partner than to a text of another group: the nearest that was mined, or any."""

    def step(self, model: torch.nn.Module, rows: NDArray[np.int64]) -> Step:
        """Return the library's loss over these anchors; one without a partner does not count."""
        assert isinstance(model, Embedder)
        anchors = self.anchors[rows]
        partners, others = self._drawn(anchors), self._others(rows)
        kept = partners != anchors
        if not kept.any():
            return Step(0.0 * self.columns(model, [anchors])[0].sum())
        columns = self.columns(model, [anchors[kept], partners[kept], others[kept]])
        return Step(self._computed(columns, None))

    def _others(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for each anchor the nearest text of another group that was mined, or one that is drawn."""
        found = []
        groups, drawn = self.texts.groups, torch.rand(len(rows)).tolist()
        for row, chance in zip(rows, drawn, strict=True):
            mined = self.mined[row][self.mined[row] >= 0]
            others = self.partners[groups[self.partners] != groups[self.anchors[row]]]
            found.append(mined[0] if len(mined) else others[int(chance * len(others))])
        return np.array(found, dtype=np.int64)


def grouped_by(loss: str, texts: Texts, *, temperature: float, margin: float, **more: Any) -> Grouped:
    """Return the objective of texts in groups by a loss; `more` is what `Grouped` takes."""
    if loss == "grouped":
        return Grouped(texts, temperature=temperature, **more)
    kind = {"labels": Batched, "pairs": Ranked}.get(needs_of(loss), Triplets)
    computed = library_loss(loss, temperature=temperature, margin=margin)
    return kind(texts, computed=computed, temperature=temperature, **more)
