"""How a model is fine-tuned: epochs, rates, and which weights learn at which of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch

from mercat.errors import ConfigError
from mercat.training.loop.precision import DTYPES, Dtype
from mercat.training.loop.unfreezing import Unfreeze
from mercat.training.loop.weights import in_head, layer_of

Choice = Literal["accuracy", "macro_f1", "loss"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """How a model is fine-tuned. Rates are those of AdamW after warm-up; `warmup` is a share of all steps.

    `layer_decay` below 1 gives each layer further down a smaller rate. `patience` counts epochs without a better
    `choose_by` on the validation part before the run stops; 0 never stops early. `adversarial` above 0 trains against
    embeddings moved by that share of their length. `average_epochs` above 1 takes the mean of the weights after the
    last epochs, unless validation says that the best single epoch does better (Izmailov et al. 2018,
    https://arxiv.org/abs/1803.05407). `unfreeze` "gradual" lets the top layer learn first, one more in each epoch.
    `dtype` is what the body multiplies in; its weights are float32 whatever it is.
    """

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 2e-4
    head_learning_rate: float = 5e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    layer_decay: float = 1.0
    unfreeze: Unfreeze = "at-once"
    label_smoothing: float = 0.0
    gradient_clip: float = 1.0
    adversarial: float = 0.0
    average_epochs: int = 0
    patience: int = 0
    choose_by: str = "accuracy"
    checkpoint_every_s: float = 60.0
    dtype: Dtype = "auto"

    def __post_init__(self) -> None:
        for name, least in (
            ("epochs", 1),
            ("batch_size", 1),
            ("patience", 0),
            ("average_epochs", 0),
            ("adversarial", 0),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} = {getattr(self, name)}", f"It is at least {least}", f"{name} = {least}")
        for name in ("learning_rate", "head_learning_rate", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} = {getattr(self, name)}", "It is at least 0", f"{name} = 1e-4")
        if not self.gradient_clip > 0:  # 0 would leave nothing of any gradient
            raise ConfigError(f"gradient_clip = {self.gradient_clip}", "It is above 0", "gradient_clip = 1.0")
        for name in ("warmup", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)}", "It is a share", f"{name} = 0.1")
        if self.unfreeze not in ("at-once", "gradual"):
            raise ConfigError(f"unfreeze = '{self.unfreeze}'", "Known: at-once, gradual", "unfreeze = 'gradual'")
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype = '{self.dtype}'", f"Known: {', '.join(DTYPES)}", "dtype = 'auto'")

    def updates(self, rows: int) -> int:
        """Return how many updates all epochs over so many rows make."""
        return self.epochs * math.ceil(rows / self.batch_size)


def rate_share(updates: int, *, total: int, warmup: float) -> float:
    """Return the share of the full learning rate: a rise over the first `warmup` of all updates, then a fall to 0."""
    rise = max(1, int(warmup * total))
    return min((updates + 1) / rise, (total - updates) / max(1, total - rise + 1))


def parameter_groups(model: torch.nn.Module, settings: LoopSettings) -> list[dict[str, Any]]:
    """Return AdamW's groups: the head at its own rate, lower layers at smaller ones, no decay of biases and norms."""
    learning = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    layers = 1 + max((layer_of(name) for name, _ in learning), default=-1)
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, weight in learning:
        new = in_head(name)
        depth = layers - 1 - layer_of(name)  # 0: the top layer; embeddings are below layer 0
        rate = settings.head_learning_rate if new else settings.learning_rate * settings.layer_decay**depth
        decay = 0.0 if new or weight.ndim < 2 else settings.weight_decay
        groups.setdefault((rate, decay), []).append(weight)
    return [{"params": weights, "lr": rate, "weight_decay": decay} for (rate, decay), weights in groups.items()]
