"""Gradual unfreezing: the top layer learns first, one more from each epoch on.

Howard & Ruder 2018, https://arxiv.org/abs/1801.06146: layers that learn late forget less of what they knew. Which ones
learn follows from the number of the epoch alone, so a run that was killed goes on as it would have.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from mercat.errors import ConfigError
from mercat.training.loop.weights import in_head, layer_of

Unfreeze = Literal["at-once", "gradual"]


class Unfreezing:
    """Which weights learn in which epoch. "at-once": all that learn at all, from the first epoch on.

    "gradual" raises ConfigError for a body without numbered layers.
    """

    def __init__(self, model: torch.nn.Module, *, plan: Unfreeze) -> None:
        body = [(name, w) for name, w in model.named_parameters() if w.requires_grad and not in_head(name)]
        self.layers = 1 + max((layer_of(name) for name, _ in body), default=-1)
        if plan == "gradual" and not self.layers:
            raise ConfigError("unfreeze = 'gradual'", "The layers of this body have no numbers", "unfreeze = 'at-once'")
        self._from = [(self.layers - 1 - layer_of(name), w) for name, w in body] if plan == "gradual" else []

    @contextmanager
    def at(self, epoch: int) -> Iterator[None]:
        """Compute no gradients, in this block, of what does not learn yet in this epoch, counted from 0.

        Outside of it every weight that will learn says so: that is what checkpoints go by.
        """
        waiting = [weight for first, weight in self._from if first > epoch]
        for weight in waiting:
            weight.requires_grad_(False)
        try:
            yield
        finally:
            for weight in waiting:
                weight.requires_grad_(True)

    def note(self, epochs: int) -> str:
        """Return what a person should know after so many epochs; empty when every weight had its turn."""
        if not any(first >= epochs for first, _ in self._from):
            return ""
        top = min(epochs, self.layers)
        return f"In {epochs} epochs only the top {top} of {self.layers} layers learned; what lies below did not"
