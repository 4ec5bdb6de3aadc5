"""The objective: in a batch each text is nearer to those of its own group than to all others.

Khosla et al. 2020, https://arxiv.org/abs/2004.11362 (supervised contrast); with one partner in a group it is InfoNCE
with in-batch negatives in both directions (van den Oord et al. 2018, https://arxiv.org/abs/1807.03748; Henderson et al.
2017, https://arxiv.org/abs/1705.00652). Texts of one group are never each other's negatives, so a repeated label or a
question with two answers does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.training.contrast.embedder import Embedder, Ids
from mercat.training.contrast.search import Search, figures_of
from mercat.training.loop.objective import Step


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts as token ids, with the number of each one's group, shape (texts,)."""

    ids: Sequence[Ids]
    groups: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


class Grouped:
    """Each row of an epoch is one of `anchors`, numbers of `texts`; a partner of its group is drawn beside it.

    `partners` are the numbers of texts that may be drawn. `always`, if given, has for each group the number of one more
    text that comes along, such as the name of a label, or -1. `mined`, shape (anchors, texts), has more that do, or -1:
    `Mining` fills it. `temperature` divides the cosines. Validates by "loss", "recall@1" and "mrr@10" of `search`.
    """

    def __init__(
        self,
        texts: Texts,
        *,
        anchors: NDArray[np.int64],
        partners: NDArray[np.int64],
        search: Search[Ids],
        temperature: float,
        always: NDArray[np.int64] | None = None,
    ) -> None:
        self.texts, self.anchors, self.partners, self.search = texts, anchors, partners, search
        self.always, self._temperature = always, temperature
        self.mined: NDArray[np.int64] = np.zeros((len(anchors), 0), dtype=np.int64)
        groups = texts.groups[partners]
        self._of = {int(group): partners[groups == group] for group in np.unique(groups)}

    @property
    def lengths(self) -> Sequence[int]:
        """The same for all rows: texts are sorted by length inside a batch, where they do not choose the negatives."""
        return [1] * len(self.anchors)

    def step(self, model: torch.nn.Module, rows: NDArray[np.int64]) -> Step:
        """Return the contrast over these anchors, their partners and what was mined for them."""
        assert isinstance(model, Embedder)
        anchors = self.anchors[rows]
        chosen = [anchors, self._drawn(anchors), self.mined[rows].ravel()]
        if self.always is not None:
            chosen.append(self.always[self.texts.groups[anchors]])
        unique = np.unique(np.concatenate(chosen))
        unique = unique[unique >= 0]
        vectors = model([self.texts.ids[number] for number in unique])
        groups = torch.from_numpy(self.texts.groups[unique]).to(vectors.device)
        return self.compared(vectors, groups)

    def compared(self, vectors: torch.Tensor, groups: torch.Tensor) -> Step:
        """Return the contrast over the vectors of a batch, shape (texts, dimensions), and their groups, (texts,)."""
        return contrast(vectors, groups, temperature=self._temperature)

    def validate(self, model: torch.nn.Module) -> Mapping[str, float]:
        """Return how well the texts of one group find each other."""
        assert isinstance(model, Embedder)
        return figures_of(self.search, model.arrays, temperature=self._temperature)

    def _drawn(self, anchors: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for each anchor another text of its group; itself, which counts once, where there is no other."""
        found = []
        for anchor, chance in zip(anchors, torch.rand(len(anchors)).tolist(), strict=True):
            others = self._of.get(int(self.texts.groups[anchor]), anchors[:0])
            others = others[others != anchor]
            found.append(others[int(chance * len(others))] if len(others) else anchor)
        return np.array(found, dtype=np.int64)


def contrast(vectors: torch.Tensor, groups: torch.Tensor, *, temperature: float) -> Step:
    """Return the mean, over texts that have a partner, of -log of the share that their partners take.

    `vectors` has shape (texts, dimensions), rows of length 1, `groups` (texts,). "nearest" is the share of those texts
    whose nearest other text is a partner. A batch in which nothing has a partner costs nothing.
    """
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    scores = (vectors @ vectors.T / temperature).masked_fill(itself, float("-inf"))
    alike = (groups[:, None] == groups[None, :]) & ~itself
    paired = alike.any(dim=1)
    if not paired.any():
        return Step(0.0 * vectors.sum(), {"nearest": 0.0})
    shares = scores.log_softmax(dim=1).masked_fill(~alike, 0.0).sum(dim=1)[paired] / alike.sum(dim=1)[paired]
    nearest = alike.gather(1, scores.argmax(dim=1, keepdim=True))[:, 0][paired]
    return Step(-shares.mean(), {"nearest": float(nearest.float().mean())})
