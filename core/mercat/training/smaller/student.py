"""A student made of a body: some of its layers, evenly spaced, as a model folder of its own.

Sanh et al. 2019, "DistilBERT", https://arxiv.org/abs/1910.01108: a student that starts from layers of a trained body
learns far better than one that starts from nothing.
"""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from mercat.encoders.adapters import adapters_of
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError

_STACKS = ("layer", "layers", "block", "h")  # what families call the list of their layers


def with_layers(encoder: Transformer, layers: int, *, folder: Path) -> Transformer:
    """Write the body with that many of its layers into `folder`, unless it is there; return it as an encoder.

    Raises ConfigError for more layers than it has, or a body whose layers cannot be told apart.
    """
    if not folder.is_dir():
        module, tokenizer = encoder.load_for_training()
        keep_layers(module, layers)
        making = folder.with_name(f".{folder.name}-{os.getpid()}")
        shutil.rmtree(making, ignore_errors=True)
        encoder.save_body(module, tokenizer, making)
        making.rename(folder)
    return Transformer.from_folder(folder)


def keep_layers(body: Any, layers: int) -> None:
    """Keep that many layers of a transformers module, and say so in its config. Raises ConfigError if it cannot."""
    asked = f"layers = {layers}"
    name = _stack(body)
    if not name or adapters_of(body):
        found = "It has bottleneck adapters" if adapters_of(body) else "Its layers have other names or are of two kinds"
        raise ConfigError(f"{asked} of this encoder", found, "layers = 0, or an encoder like BERT, DistilBERT or MPNet")
    stack = body.get_submodule(name)
    if layers > len(stack):
        raise ConfigError(asked, f"The encoder has {len(stack)}", f"layers = {max(1, len(stack) // 2)}")
    kept = torch.nn.ModuleList(stack[number] for number in kept_layers(len(stack), layers))
    parent, _, own = name.rpartition(".")
    setattr(body.get_submodule(parent), own, kept)
    body.config.num_hidden_layers = layers


def kept_layers(layers: int, wanted: int) -> list[int]:
    """Return the numbers of `wanted` layers of so many, evenly spaced, the top one among them."""
    return [math.ceil((place + 1) * layers / wanted) - 1 for place in range(wanted)]


def _stack(body: Any) -> str:
    """Return the name of the list of layers; empty where there is none, or several, or layers differ by number."""
    count = getattr(body.config, "num_hidden_layers", 0)
    found = [
        name
        for name, each in body.named_modules()
        if isinstance(each, torch.nn.ModuleList) and name.rpartition(".")[2] in _STACKS and len(each) == count
    ]
    uniform = not getattr(body.config, "layer_types", None)
    return found[0] if len(found) == 1 and uniform else ""
