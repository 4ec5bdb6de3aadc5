"""One batch computed by several processes: each takes some of its rows, and their gradients become those of the whole.

The loss of a batch is a weighted mean over its rows, so its gradient is the mean of the processes' gradients, each by
the weight of its rows. Everything that is exchanged after a backward pass travels in one flat buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mercat.compute.world import World
from mercat.errors import ConfigError, DataError
from mercat.training.loop.objective import Objective, Step


@dataclass(frozen=True, slots=True)
class _Sent:
    """What travels: gradients, whether each weight has one, the sums of loss, weights and figures."""

    gradients: torch.Tensor
    there: torch.Tensor
    sums: torch.Tensor


class Sharing:
    """Brings the gradients of the processes together. Alone it changes nothing.

    Raises ConfigError for an objective whose batches cannot be computed in parts.
    """

    def __init__(self, world: World, objective: Objective, weights: Sequence[torch.nn.Parameter], *, seed: int) -> None:
        if world.size > 1 and not getattr(objective, "divisible", False):
            raise ConfigError(
                f"Training by {world.size} processes shares out the rows of each batch",
                f"The loss of '{type(objective).__name__}' compares the rows of a batch with one another",
                "mercat train without --workers",
            )
        self._world, self._weights, self._seed = world, weights, seed
        self._figures: list[str] | None = None

    def begin(self, digest: str, updates: int) -> None:
        """Make sure that all processes learn the same from the same place, and have the first one's weights.

        Raises DataError where they do not.
        """
        if not self._world.agreed([digest, updates]):
            raise DataError(
                f"{self._world.size} processes must learn from the same rows and the same checkpoint",
                f"Process {self._world.rank} and another one differ in settings, rows or checkpoint",
                "one store and one workspace folder for all, and no rows that come in meanwhile",
            )
        for weight in self._weights if self._world.size > 1 else ():
            self._world.spread(weight.data)

    def seed(self, updates: int) -> None:
        """Let what the other processes draw in this update follow from its number: no checkpoint has to keep it."""
        if not self._world.first:
            numbers = np.random.SeedSequence([self._seed, self._world.rank, updates])
            torch.manual_seed(int(numbers.generate_state(1)[0]))

    def together(self, step: Step | None, *, rows: int) -> Step:
        """Make each weight's gradient that of the whole batch; return the batch's loss and figures.

        `step` is what this process computed over so many rows of the batch; None where it had none.
        """
        if self._world.size == 1:
            assert step is not None
            return step
        if self._figures is None:
            self._figures = self._world.told(sorted(step.figures) if step else [])
        sent = self._packed(step, rows, self._figures)
        found = self._world.add(torch.cat([sent.gradients, sent.there, sent.sums]))
        gradients, there, sums = torch.split_with_sizes(found, [len(sent.gradients), len(sent.there), len(sent.sums)])
        weight, loss, rows_, *figures = sums
        self._unpack(gradients / weight, there)
        means = {name: float(total / rows_) for name, total in zip(self._figures, figures, strict=True)}
        return Step(loss / weight, means)

    def _packed(self, step: Step | None, rows: int, names: Sequence[str]) -> _Sent:
        device = self._weights[0].device
        weight = 0.0 if step is None else float(rows if step.weight is None else step.weight)
        gradients = [
            torch.zeros(each.numel(), device=device) if each.grad is None else each.grad.flatten().float() * weight
            for each in self._weights
        ]
        there = torch.tensor([float(each.grad is not None) for each in self._weights], device=device)
        figures = [step.figures[name] * rows if step else 0.0 for name in names]
        loss = step.loss.item() * weight if step else 0.0
        return _Sent(torch.cat(gradients), there, torch.tensor([weight, loss, rows, *figures], device=device))

    def _unpack(self, gradients: torch.Tensor, there: torch.Tensor) -> None:
        parts = torch.split_with_sizes(gradients, [each.numel() for each in self._weights])
        for weight, gradient, found in zip(self._weights, parts, there.tolist(), strict=True):
            weight.grad = gradient.view_as(weight).to(weight.dtype) if found else None
