"""What a recipe may do at each update beside descending the loss; it survives a kill as the weights do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch


class Steering(Protocol):
    """Takes part in a fine-tune loop. All that it remembers between updates is in `state`."""

    def penalty(self) -> torch.Tensor:
        """Return what is added to the loss of a batch before its gradients are taken; a single number."""
        ...

    def stepped(self, updates: int) -> None:
        """Hear that the optimiser has made so many updates, the gradients of the last one being there still."""
        ...

    def state(self) -> Mapping[str, torch.Tensor]:
        """Return what a checkpoint has to keep, of any shapes."""
        ...

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over what an earlier `state` returned."""
        ...

    def note(self) -> str:
        """Return what a person should know when the loop is done; empty for nothing."""
        ...


@runtime_checkable
class Ending(Steering, Protocol):
    """Steering that comes to an end within a run: an epoch before it is never the best one, nor one too many."""

    @property
    def ended(self) -> bool:
        """Whether the weights are from now on as the run is to leave them."""
        ...
