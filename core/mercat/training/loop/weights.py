"""Which weights of a model learn, by their names: the head's, and those of each layer."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

_LAYER = re.compile(r"\b(?:layers?|h|block)\.(\d+)\.")


def layer_of(name: str) -> int:
    """Return the number of the layer that a weight belongs to; -1 for embeddings and the like."""
    found = _LAYER.search(name)
    return int(found.group(1)) if found else -1


def in_head(name: str) -> bool:
    """Return whether a weight is one of the head's, which is new and learns at a rate of its own."""
    return name.startswith("head.")


def learning(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights that learn, by name."""
    return {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}


def put(model: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy weights into the model by name."""
    with torch.no_grad():
        for name, weight in learning(model).items():
            weight.copy_(weights[name])


def sizes(model: torch.nn.Module) -> dict[str, int]:
    """Return how many numbers a model has, and how many of them learn."""
    weights = list(model.parameters())
    return {
        "parameters": sum(weight.numel() for weight in weights),
        "trainable_parameters": sum(weight.numel() for weight in weights if weight.requires_grad),
    }
