"""How AdaLoRA drops singular values in the course of a run (Zhang et al. 2023, https://arxiv.org/abs/2303.10512)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from mercat.errors import ConfigError

_AVERAGES = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # of PEFT's allocator: importance, and its running averages
_ALLOCATIONS = 100  # how often, over a whole run, the ranks are allocated anew


class Shrinking:
    """Steers a loop over PEFT's AdaLoRA: a penalty on slanting singular vectors, fewer singular values over time.

    `shrink` has the shares of all `updates` at which dropping begins and ends. Raises ConfigError for fewer than 3
    updates: importance has to be seen before anything is dropped.
    """

    def __init__(self, body: Any, *, updates: int, shrink: tuple[float, float], orthogonality: float) -> None:
        if updates < 3:
            raise ConfigError(f"AdaLoRA in {updates} updates", "It needs at least 3", "epochs = more, or use = 'lora'")
        self._body, self._orthogonality = body, orthogonality
        self._allocator, self._config = body.rankallocator, body.peft_config[body.trainable_adapter_name]
        end = max(2, int(shrink[1] * updates))
        self._config.total_step, self._config.tfinal = updates, updates - end
        self._config.tinit = min(int(shrink[0] * updates), end - 1)
        self._config.deltaT = max(1, updates // _ALLOCATIONS)
        self._sides = [
            (weight, "lora_A" in name)
            for name, weight in body.model.named_parameters()
            if "lora_A" in name or "lora_B" in name
        ]

    def penalty(self) -> torch.Tensor:
        """Return the mean distance of P Pᵀ from the identity over all sets P of singular vectors, weighted."""
        covariances = [side @ side.T if rows else side.T @ side for side, rows in self._sides]
        distances = [torch.linalg.norm(each - torch.eye(len(each), device=each.device)) for each in covariances]
        return self._orthogonality * torch.stack(distances).mean()

    def stepped(self, updates: int) -> None:
        """Let the allocator look at the gradients and drop what matters least, when it is time to."""
        self._body.update_and_allocate(updates)

    def state(self) -> Mapping[str, torch.Tensor]:
        """Return the allocator's averages, shaped as the weights, and which singular values were kept last."""
        averages = {
            f"{kind}/{name}": each for kind in _AVERAGES for name, each in getattr(self._allocator, kind).items()
        }
        pattern = self._config.rank_pattern or {}
        return {**averages, **{f"kept/{name}": torch.tensor(each) for name, each in pattern.items()}}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over what an earlier `state` returned."""
        device = self._sides[0][0].device
        for kind in _AVERAGES:
            setattr(self._allocator, kind, {name: each.to(device) for name, each in _under(kind, state).items()})
        self._config.rank_pattern = {name: each.tolist() for name, each in _under("kept", state).items()} or None

    def note(self) -> str:
        """Say how many singular values are left."""
        pattern = kept(self._body)
        left, first = sum(map(sum, pattern.values())), sum(map(len, pattern.values()))
        return f"{left} of {first} singular values were kept; the budget was {self._allocator.target_bgt}"


def kept(body: Any) -> dict[str, list[bool]]:
    """Return, for each matrix, which singular values were not dropped."""
    values = {name: each for name, each in body.model.named_parameters() if "lora_E" in name}
    return {name: (each.detach() != 0).view(-1).tolist() for name, each in values.items()}


def _under(kind: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.partition("/")[2]: each for name, each in state.items() if name.partition("/")[0] == kind}
