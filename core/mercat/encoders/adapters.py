"""Bottleneck adapters: small layers between those of a frozen body. They cannot be merged, so they are served as well.

After the layer that ends attention, and after the one that ends the feed-forward part, a vector h becomes
h + up(gelu(down(h))); then follow the residual and the norm. Houlsby et al. 2019, https://arxiv.org/abs/1902.00751, has
both places, Pfeiffer et al. 2020, https://arxiv.org/abs/2005.00247, the second alone.

A saved body with adapters has two files of weights: `adapters.safetensors`, and the body by a name that only those ask
for who know of adapters, so that no other library loads it without them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from mercat.encoders.prefixes import PART as PREFIX
from mercat.encoders.prefixes import attach_prefixes
from mercat.errors import ArtifactError, ConfigError

Placement = Literal["houlsby", "pfeiffer"]
ENDS_ATTENTION = r".*\.(attention\.output\.dense|attention\.out_lin|attention\.attn\.o)"
ENDS_FEED_FORWARD = r".*(?<!attention)\.output\.dense|.*\.ffn\.lin2"
PLACES: Mapping[Placement, Sequence[str]] = {
    "houlsby": (ENDS_ATTENTION, ENDS_FEED_FORWARD),
    "pfeiffer": (ENDS_FEED_FORWARD,),
}
_PART = ".adapter."
_TENSORS = ("down.weight", "down.bias", "up.weight", "up.bias")


class Bottleneck(torch.nn.Module):
    """Adds to a vector what it becomes on the way through a few dimensions; new, it changes nothing."""

    def __init__(self, dimensions: int, *, width: int) -> None:
        super().__init__()
        self.down, self.up = torch.nn.Linear(dimensions, width), torch.nn.Linear(width, dimensions)
        torch.nn.init.normal_(self.down.weight, std=0.02)
        for weights in (self.down.bias, self.up.weight, self.up.bias):
            torch.nn.init.zeros_(weights)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return shape (…, dimensions), that of `hidden`."""
        added: torch.Tensor = self.up(torch.nn.functional.gelu(self.down(hidden)))
        return hidden + added


def insert(body: torch.nn.Module, *, placement: Placement, reduction: int) -> list[torch.nn.Parameter]:
    """Put new adapters of 1/`reduction` of the body's dimensions into each layer; return their weights.

    Raises ConfigError for a body that has adapters already, or whose layers have names of an unknown family.
    """
    if adapters_of(body):
        raise ConfigError("New adapters for an encoder", "It has adapters already", "use = 'full', which trains both")
    linear = {name: each for name, each in body.named_modules() if isinstance(each, torch.nn.Linear)}
    for pattern in PLACES[placement]:
        places = [each for name, each in linear.items() if re.fullmatch(pattern, name)]
        if not places:
            found = f"A {type(body).__name__} has no layers named like '{pattern}'"
            raise ConfigError(f"placement = '{placement}'", found, "use = 'lora'")
        for layer in places:
            dimensions = layer.out_features
            _put(layer, Bottleneck(dimensions, width=max(1, dimensions // reduction)))
    return [weight for name, weight in body.named_parameters() if _PART in name]


def attach(body: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put saved adapters and prefixes into a body that was loaded without; `adapters_of` says how tensors are named.

    Raises ArtifactError for tensors that are no adapters of this body.
    """
    attach_prefixes(body, {name: tensor for name, tensor in tensors.items() if PREFIX in name})
    tensors = {name: tensor for name, tensor in tensors.items() if PREFIX not in name}
    linear = {name: each for name, each in body.named_modules() if isinstance(each, torch.nn.Linear)}
    for name in sorted({name.partition(_PART)[0] for name in tensors}):
        found = [tensors.get(f"{name}{_PART}{part}") for part in _TENSORS]
        down_weight, down_bias, up_weight, up_bias = found
        if name not in linear or down_weight is None or down_bias is None or up_weight is None or up_bias is None:
            raise _strange(f"'{name}' is no layer of this body, or its adapter is not whole")
        dimensions, width = linear[name].out_features, len(down_bias)
        sizes = [tuple(each.shape) for each in (down_weight, down_bias, up_weight, up_bias)]
        if sizes != [(width, dimensions), (width,), (dimensions, width), (dimensions,)]:
            raise _strange(f"The adapter of '{name}' has tensors of the sizes {sizes}")
        adapter = Bottleneck(dimensions, width=width).to(linear[name].weight)
        adapter.load_state_dict({part: tensors[f"{name}{_PART}{part}"] for part in _TENSORS})
        _put(linear[name], adapter.train(body.training))


def adapters_of(body: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors of a body's adapters and prefixes by name; none for a body without."""
    return {name: tensor for name, tensor in body.state_dict().items() if _PART in name or PREFIX in name}


def _put(layer: torch.nn.Linear, adapter: Bottleneck) -> None:
    """Let a layer answer with what its adapter makes of its answer; the names of its own weights stay as they are."""
    layer.add_module("adapter", adapter)
    layer.register_forward_hook(_adapt)


def _adapt(layer: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
    adapted: torch.Tensor = layer.adapter(output)
    return adapted


def _strange(found: str) -> ArtifactError:
    return ArtifactError("The adapters of a model", found, "the folder that the recipe 'adapter' saved")
