"""What a loop learns: the one thing that differs between labels, tokens, pairs, numbers and masked words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Step:
    """What a forward pass over one batch gave.

    `loss` is a single number with its graph, the mean over the batch; `figures` are means over the batch's rows that a
    person watches while it trains, such as {"accuracy": 0.9}. `weight` is what the mean of the loss divides by where
    that is not the number of rows: the sum of their weights, or of the tokens that count.
    """

    loss: torch.Tensor
    figures: Mapping[str, float] = field(default_factory=dict)
    weight: float | None = None


class Objective(Protocol):
    """Rows to learn from, the loss of a batch of them, and how good a model is on rows that it does not learn from.

    All that an objective draws at random follows from torch's generator, which checkpoints keep, or from the rows.
    One whose loss is a weighted mean over the rows of a batch says so with a field `divisible = True`: then several
    processes may share a batch. One that compares the rows of a batch with one another has none.
    """

    @property
    def lengths(self) -> Sequence[int]:
        """The length of each train row, in tokens: rows of like length share a batch."""
        ...

    def step(self, model: torch.nn.Module, rows: NDArray[np.int64]) -> Step:
        """Return the loss over these train rows, shape (rows of the batch,), with the graph of its gradient."""
        ...

    def validate(self, model: torch.nn.Module) -> Mapping[str, float]:
        """Return figures on the validation part, "loss" among them; the model is left in the mode it came in."""
        ...
