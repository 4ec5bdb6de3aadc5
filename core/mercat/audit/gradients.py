"""Integrated gradients of a fine-tuned transformer with a linear head: which tokens moved the probability.

Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks". The path goes from the embedding of padding to that
of each token; special tokens stay. The sum over tokens is the probability minus that at the start of the path, up to
the error of the steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mercat.audit.explain import Spans
from mercat.encoders.base import Encoder
from mercat.encoders.cache import unwrap
from mercat.heads import LinearHead, load_head
from mercat.training.classifying.classifier import HEAD, ROLE, own_encoder

if TYPE_CHECKING:
    from mercat.encoders.transformer import Transformer

STEPS = 32
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Integrated:
    """Weights per piece of a text; `change` is what they should sum to, `gap` by how much they miss it."""

    weights: tuple[float, ...]
    change: float
    gap: float


class IntegratedGradients:
    """Attributes the probabilities of one encoder and head. Weights load on the first call and stay float32 on the CPU.

    Where the head has isotonic tables the probability is the one before them, which has a gradient.
    """

    def __init__(self, encoder: Transformer, head: LinearHead, *, steps: int = STEPS) -> None:
        self.encoder, self.head, self.steps = encoder, head, steps
        self._loaded: tuple[Any, Any] | None = None

    def __call__(self, text: str, spans: Spans, *, label: int) -> Integrated:
        """Return the weight of every piece for the probability of the label with this number."""
        per_token, offsets, change = self._tokens(text, label)
        weights = np.zeros(len(spans))
        for weight, start in zip(per_token, offsets, strict=True):
            inside = [number for number, (first, end) in enumerate(spans) if first <= start < end]
            if inside:
                weights[inside[0]] += weight
        return Integrated(tuple(map(float, weights)), change, abs(float(per_token.sum()) - change))

    def _tokens(self, text: str, label: int) -> tuple[NDArray[np.float64], list[int], float]:
        import torch

        module, tokenizer = self._load()
        cut, shift = self._cut(text)
        encoding = tokenizer.encode(cut)
        ids = torch.tensor([encoding.ids])
        special = torch.tensor(encoding.special_tokens_mask, dtype=torch.bool)
        with torch.no_grad():
            end = module.get_input_embeddings()(ids)
            padding = module.get_input_embeddings()(torch.tensor([[self.encoder.checkpoint.pad_id]]))
        start = torch.where(special[None, :, None], end, padding)
        gradient = torch.zeros_like(end)
        places = (torch.arange(self.steps) + 0.5) / self.steps
        for part in torch.split(places, _AT_ONCE):
            inputs = (start + part[:, None, None] * (end - start)).requires_grad_(True)
            (found,) = torch.autograd.grad(self._probability(module, inputs, label).sum(), inputs)
            gradient += found.sum(dim=0, keepdim=True) / self.steps
        with torch.no_grad():
            first, last = self._probability(module, torch.cat([start, end]), label).tolist()
        weights = ((end - start) * gradient).sum(dim=2)[0].double().numpy()
        return weights, [first - shift for first, _ in encoding.offsets], last - first

    def _probability(self, module: Any, inputs: Any, label: int) -> Any:
        import torch

        from mercat.encoders.padded import pool

        mask = torch.ones(inputs.shape[:2], dtype=torch.long)
        hidden = module(inputs_embeds=inputs, attention_mask=mask).last_hidden_state
        vectors = torch.nn.functional.normalize(pool(hidden, mask, self.encoder.pooling), dim=1)
        logits = vectors @ torch.from_numpy(self.head.weights).T + torch.from_numpy(self.head.bias)
        return torch.softmax(logits / self.head.temperature, dim=1)[:, label]

    def _cut(self, text: str) -> tuple[str, int]:
        """Return the text as the encoder reads it, and by how many characters it is shifted to the right."""
        prefix = self.encoder.prefix(ROLE)
        cut = prefix + text.strip()
        if self.encoder.checkpoint.lower_case:  # a character that grows in lower case would move those behind it
            cut = "".join(each.lower() if len(each.lower()) == 1 else each for each in cut)
        return cut, len(prefix) - (len(text) - len(text.lstrip()))

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            module, tokenizer = self.encoder.load_for_training()
            module.eval().requires_grad_(False)
            self._loaded = module, tokenizer
        return self._loaded


def gradients_of(artifact: Path, shared: Encoder | None) -> IntegratedGradients | None:
    """Return integrated gradients for an artifact's own body, or the shared encoder; None for what has no gradient."""
    from mercat.encoders.transformer import Transformer

    if not (artifact / HEAD).is_dir():
        return None
    encoder, head = own_encoder(artifact) or (unwrap(shared) if shared else None), load_head(artifact / HEAD)
    if not isinstance(encoder, Transformer) or encoder.checkpoint.exported or not isinstance(head, LinearHead):
        return None
    return IntegratedGradients(encoder, head) if encoder.fingerprint == head.fingerprint else None
