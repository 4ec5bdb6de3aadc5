"""Prefixes: learned keys and values that every token of a text also attends to, in each layer of a frozen body.

Li and Liang 2021, https://arxiv.org/abs/2101.00190. They take no place among the tokens and cannot be merged, so they
are saved and served beside the body, in the file of adapters: see `mercat.encoders.adapters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from mercat.errors import ArtifactError, ConfigError

PART = ".prefix."
_ATTENTION = "attention.self"
_TENSORS = ("key", "value")


class Prefix(torch.nn.Module):
    """Keys and values before those of the tokens; in place of the cache of keys that BERT's attention asks for more."""

    def __init__(self, count: int, dimensions: int) -> None:
        super().__init__()
        self.key = torch.nn.Parameter(torch.randn(count, dimensions) * 0.02)
        self.value = torch.nn.Parameter(torch.randn(count, dimensions) * 0.02)

    def update(self, key: torch.Tensor, value: torch.Tensor, layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values with the prefix first: shape (texts, heads, prefix and tokens, dimensions)."""
        return before(self.key, key), before(self.value, value)


def before(prefix: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Put a prefix of shape (count, dimensions) before tokens of shape (texts, heads, tokens, dimensions per head)."""
    texts, heads, _, width = tokens.shape
    parted = prefix.view(-1, heads, width).transpose(0, 1).to(tokens.dtype)
    return torch.cat([parted.expand(texts, -1, -1, -1), tokens], dim=2)


def insert_prefixes(body: torch.nn.Module, *, count: int) -> list[torch.nn.Parameter]:
    """Put new prefixes of `count` keys and values into each layer; return their weights.

    Raises ConfigError for a body whose attention is not that of BERT's family.
    """
    places = _places(body)
    if not places:
        found = f"A {type(body).__name__} has no layers with '{_ATTENTION}'"
        raise ConfigError("Prefixes for an encoder", found, "use = 'lora', or an encoder of BERT's family")
    return [weight for layer in places.values() for weight in _put(layer, Prefix(count, layer.key.out_features))]


def attach_prefixes(body: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put saved prefixes into a body that was loaded without. Raises ArtifactError for tensors that are none of it."""
    places = _places(body)
    for name in sorted({name.partition(PART)[0] for name in tensors}):
        key, value = (tensors.get(f"{name}{PART}{part}") for part in _TENSORS)
        layer = places.get(name)
        if layer is None or key is None or value is None or key.shape != value.shape:
            raise _strange(f"'{name}' is no attention of this body, or its prefix is not whole")
        if key.ndim != 2 or key.shape[1] != layer.key.out_features:
            raise _strange(f"The prefix of '{name}' has the size {tuple(key.shape)}")
        prefix = Prefix(*key.shape).to(layer.key.weight)
        prefix.load_state_dict({"key": key, "value": value})
        _put(layer, prefix)


def _places(body: torch.nn.Module) -> dict[str, Any]:
    return {name: layer for name, layer in body.named_modules() if name.endswith(_ATTENTION) and hasattr(layer, "key")}


def _put(layer: Any, prefix: Prefix) -> list[torch.nn.Parameter]:
    layer.add_module("prefix", prefix)
    layer.register_forward_pre_hook(_lead, with_kwargs=True)
    return list(prefix.parameters())


def _lead(layer: Any, inputs: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Hand the prefix to the attention as what was there before, and let every token see it."""
    mask = named.get("attention_mask")
    if mask is not None:
        seen = mask.new_full((*mask.shape[:-1], len(layer.prefix.key)), True if mask.dtype == torch.bool else 0)
        mask = torch.cat([seen, mask], dim=-1)
    return inputs, {**named, "attention_mask": mask, "past_key_values": layer.prefix}


def _strange(found: str) -> ArtifactError:
    return ArtifactError("The prefixes of a model", found, "the folder that the recipe 'prefix' saved")
