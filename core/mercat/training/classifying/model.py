"""A pretrained body with a linear head on its pooled vectors: in training exactly what serving computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.encoders.base import Encoder, Role
from mercat.encoders.cache import unwrap
from mercat.encoders.padded import pool
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError
from mercat.heads import LinearHead
from mercat.training.loop.weights import layer_of

_CHARACTERS_PER_TOKEN = 64  # as the encoder cuts texts before it counts tokens


class PooledClassifier(torch.nn.Module):
    """Token ids in, logits out: body, pooling, scaling to length 1, linear head."""

    def __init__(self, body: Any, *, pooling: str, dimensions: int, labels: int) -> None:
        super().__init__()
        self.body, self.pooling = body, pooling
        self.head = torch.nn.Linear(dimensions, labels)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.body(input_ids=ids, attention_mask=mask).last_hidden_state
        vectors = torch.nn.functional.normalize(pool(hidden, mask, self.pooling), dim=1)
        logits: torch.Tensor = self.head(vectors)
        return logits

    def start_from(self, head: LinearHead, labels: Sequence[str]) -> None:
        """Take over a head that was fitted on the frozen body's vectors; a label that it lacks starts as unlikely."""
        place = {label: number for number, label in enumerate(head.labels)}
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.bias.fill_(float(head.bias.min()))
            for number, label in enumerate(labels):
                if label in place:
                    self.head.weight[number] = torch.from_numpy(head.weights[place[label]])
                    self.head.bias[number] = float(head.bias[place[label]])

    def head_arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the head's weights, shape (labels, dimensions), and bias, shape (labels,)."""
        weights, bias = self.head.weight.detach(), self.head.bias.detach()
        return weights.float().cpu().numpy().copy(), bias.float().cpu().numpy().copy()


def tunable(encoder: Encoder, *, max_tokens: int) -> Transformer:
    """Return the transformer behind an encoder, set to cut texts after `max_tokens` tokens.

    Raises ConfigError for an encoder that has no weights to fine-tune.
    """
    inner = unwrap(encoder)
    if not isinstance(inner, Transformer):
        raise ConfigError(
            "Fine-tuning needs an encoder with weights that can learn",
            f"This one is {encoder.info().model} ({encoder.info().backend})",
            "encoder = a section with use = 'transformer', or the recipe 'linear'",
        )
    return Transformer(
        str(inner.checkpoint.folder),
        pooling=inner.pooling,
        max_tokens=min(max_tokens, inner.max_tokens),
        query_prefix=inner.prefix("query"),
        document_prefix=inner.prefix("document"),
    )


def token_ids(encoder: Transformer, tokenizer: Any, texts: Sequence[str], *, role: Role) -> list[list[int]]:
    """Return the token ids of each text, the same that the encoder sees when it serves."""
    prefix, most = encoder.prefix(role), encoder.max_tokens * _CHARACTERS_PER_TOKEN
    cut = [prefix + text.strip()[:most] for text in texts]
    if encoder.checkpoint.lower_case:
        cut = [text.lower() for text in cut]
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(cut)]


def freeze(body: torch.nn.Module, *, layers: int) -> None:
    """Stop what cannot or should not learn: an unused pooler always; embeddings and the lowest `layers` if any.

    Raises ConfigError when nothing is left to learn.
    """
    for name, weight in body.named_parameters():
        number = layer_of(name)
        low = layers > 0 and (number < layers if number >= 0 else "embeddings" in name)
        if low or name.startswith("pooler."):
            weight.requires_grad_(False)
    if not any(weight.requires_grad for weight in body.parameters()):
        raise ConfigError(f"freeze_layers = {layers}", "The encoder has no layer above them", "freeze_layers = 0")
