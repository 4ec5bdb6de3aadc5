"""Gradual magnitude pruning: the smallest weights become 0, more of them as a run goes on.

Zhu & Gupta 2017, https://arxiv.org/abs/1710.01878: the share of zeros rises on a cubic curve, quickly at first while
many weights can be spared, and the weights that are left learn to do without the others.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from mercat.errors import ConfigError
from mercat.training.loop.weights import sizes

_TIMES = 100  # how often, over a whole run, weights are chosen anew


class Pruning:
    """Steers a loop: of every linear layer of `body` that learns, the smallest weights are held at 0.

    The share of zeros, the same in each layer, rises to `amount` between the shares `ramp` of all `updates`. Biases,
    norms and embeddings stay. Raises ConfigError for a body without linear layers that learn.
    """

    def __init__(self, body: torch.nn.Module, *, amount: float, ramp: tuple[float, float], updates: int) -> None:
        self._weights = linear_weights(body)
        if not self._weights:
            raise ConfigError("The recipe 'prune' prunes linear layers", "This encoder has none", "use = 'distill'")
        self._amount = amount
        self._end = max(1, int(ramp[1] * updates))
        self._begin = min(int(ramp[0] * updates), self._end - 1)
        self._every = max(1, (self._end - self._begin) // _TIMES)
        self._zeros = {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in self._weights.items()}
        self._body_numbers = sizes(body)["parameters"]

    def penalty(self) -> torch.Tensor:
        """Return nothing: the loss stays as it is."""
        return torch.zeros((), device=next(iter(self._weights.values())).device)

    def stepped(self, updates: int) -> None:
        """Choose the smallest weights anew, when it is time to, and hold at 0 what was chosen."""
        due = updates == self._end or (updates - self._begin) % self._every == 0
        if self._begin < updates <= self._end and due:
            share = self.share(updates)
            self._zeros = {name: smallest(weight, share) for name, weight in self._weights.items()}
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.masked_fill_(self._zeros[name].to(weight.device), 0.0)

    def share(self, updates: int) -> float:
        """Return the share of zeros after so many updates."""
        done = min(max((updates - self._begin) / (self._end - self._begin), 0.0), 1.0)
        return self._amount * (1.0 - (1.0 - done) ** 3)

    @property
    def ended(self) -> bool:
        """Whether all zeros are there that are to be."""
        wanted = {name: round(self._amount * weight.numel()) for name, weight in self._weights.items()}
        return all(int(self._zeros[name].sum()) == count for name, count in wanted.items())

    def state(self) -> Mapping[str, torch.Tensor]:
        """Return which weights are held at 0, each of the shape of its weights."""
        return self._zeros

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over what an earlier `state` returned."""
        self._zeros = {name: state[name].to(weight.device) for name, weight in self._weights.items()}

    def note(self) -> str:
        """Say how many weights are 0, and what that brings."""
        zeros, all_of_them = zeros_of(self._weights), sum(weight.numel() for weight in self._weights.values())
        return (
            f"{zeros:,} of the {all_of_them:,} weights of linear layers are 0 ({zeros / all_of_them:.1%}), "
            f"{zeros / self._body_numbers:.1%} of the body. Zeros are stored and multiplied like other numbers: "
            "serving is no faster and the folder no smaller. What does that: distill with fewer layers, quantise"
        )


def linear_weights(body: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Return the weights of the linear layers that learn, by name."""
    linear = {f"{name}.weight" for name, each in body.named_modules() if isinstance(each, torch.nn.Linear)}
    return {name: weight for name, weight in body.named_parameters() if name in linear and weight.requires_grad}


def smallest(weight: torch.Tensor, share: float) -> torch.Tensor:
    """Return, of the shape of `weight`, which weights are this share of all, rounded, with the least magnitude."""
    chosen = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
    count = round(share * weight.numel())
    chosen[torch.topk(weight.detach().abs().flatten(), count, largest=False).indices] = True
    return chosen.view_as(weight)


def zeros_of(weights: Mapping[str, torch.Tensor]) -> int:
    """Return how many of these weights are 0."""
    return sum(int((weight == 0).sum()) for weight in weights.values())
