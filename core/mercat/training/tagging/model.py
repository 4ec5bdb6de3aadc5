"""A pretrained body with a tag for each word: in training exactly what serving computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.encoders.token_states import shaped
from mercat.predictors.words import SHAPES

_DROPOUT = 0.1  # as BERT's authors before their own heads


class WordTagger(torch.nn.Module):
    """Token ids in, logits of tags out, for the first token of each word (Devlin et al. 2019, section 5.3).

    With `shapes` what an uncased tokenizer drops, whether a word is lower, Title or UPPER case, is added to the word
    embeddings; that table begins as zeros, so the body begins as it was.
    """

    def __init__(self, body: Any, *, dimensions: int, tags: int, shapes: bool) -> None:
        super().__init__()
        self.body = body
        self.shapes = torch.nn.Embedding(len(SHAPES), dimensions) if shapes else None
        if self.shapes is not None:
            torch.nn.init.zeros_(self.shapes.weight)
        self.dropout = torch.nn.Dropout(_DROPOUT)
        self.head = torch.nn.Linear(dimensions, tags)

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, kinds: torch.Tensor, rows: torch.Tensor, places: torch.Tensor
    ) -> torch.Tensor:
        """Return shape (words, tags) for the words at token `places` of `rows`; ids and kinds: (windows, tokens)."""
        if self.shapes is None:
            given = {"input_ids": ids}
        else:
            given = {"inputs_embeds": shaped(self.body, ids, kinds, self.shapes.weight)}
        hidden = self.body(attention_mask=mask, **given).last_hidden_state
        logits: torch.Tensor = self.head(self.dropout(hidden[rows, places]))
        return logits

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
        """Return the head's weights, shape (tags, dimensions), its bias (tags,), and shapes (kinds, dimensions)."""
        shapes = None if self.shapes is None else _array(self.shapes.weight)
        return _array(self.head.weight), _array(self.head.bias), shapes


def _array(weight: torch.Tensor) -> NDArray[np.float32]:
    return weight.detach().float().cpu().numpy().copy()
