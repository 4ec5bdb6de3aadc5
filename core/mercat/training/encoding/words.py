"""The head of a masked language model: a vector at a hidden place, a score for each token of the vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError

WORDS = "mlm_head.safetensors"
"""The head's file, in the folder of the encoder that it belongs to."""


MASKS = ("[MASK]", "<mask>")


class WordHead(torch.nn.Module):
    """Turns a vector of length 1 by one linear map and compares it with the word embeddings, which it shares.

    There is no curve in it, unlike in BERT's: so the rows of a few words are a linear head on the encoder's own
    vectors, and are served as one. New, it guesses every token by `frequencies` alone, shape (vocabulary,).
    """

    def __init__(self, dimensions: int, *, width: int, frequencies: NDArray[np.float64]) -> None:
        super().__init__()
        self.turn = torch.nn.Linear(dimensions, width)
        torch.nn.init.zeros_(self.turn.weight)
        torch.nn.init.zeros_(self.turn.bias)
        self.bias = torch.nn.Parameter(torch.from_numpy(np.log(frequencies)).float())

    def forward(self, vectors: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """Return scores of shape (rows, vocabulary) from (rows, dimensions) and (vocabulary, width)."""
        turned = self.turn(torch.nn.functional.normalize(vectors, dim=1))
        scores: torch.Tensor = turned @ embeddings.T + self.bias
        return scores

    def rows(self, tokens: list[int], embeddings: torch.Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the linear head that scores these tokens alone, of shape (tokens, dimensions) and (tokens,)."""
        with torch.no_grad():
            chosen = embeddings[tokens]
            weights, bias = chosen @ self.turn.weight, chosen @ self.turn.bias + self.bias[tokens]
        return weights.float().cpu().numpy(), bias.float().cpu().numpy()

    def save(self, folder: Path, *, fingerprint: str) -> None:
        """Write the head beside the encoder of this fingerprint."""
        from safetensors.torch import save_file

        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, str(folder / WORDS), metadata={"encoder": fingerprint})


def mask_token(tokenizer: Any) -> tuple[str, int]:
    """Return how a tokenizer spells a hidden token, and its number; from then on it finds it in texts.

    Raises ConfigError for one that knows none.
    """
    for mark in MASKS:
        if (number := tokenizer.token_to_id(mark)) is not None:
            tokenizer.add_special_tokens([mark])
            return mark, int(number)
    found = f"Its tokenizer knows none of {', '.join(MASKS)}"
    raise ConfigError("An encoder that guesses hidden words", found, "an encoder of BERT's or RoBERTa's family")


def load_words(folder: Path, *, encoder: Transformer) -> WordHead:
    """Return the head beside an encoder. Raises ArtifactError where there is none, or that of other weights."""
    from safetensors import SafetensorError, safe_open

    asked, cure = f"A masked-word head for the encoder in '{folder}'", "an encoder made by the recipe 'mlm'"
    if not (folder / WORDS).is_file():
        raise ArtifactError(asked, f"There is no {WORDS}", cure)
    try:
        with safe_open(str(folder / WORDS), framework="pt") as file:
            of = (file.metadata() or {}).get("encoder", "")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
        width, dimensions = tensors["turn.weight"].shape
        head = WordHead(dimensions, width=width, frequencies=np.ones(len(tensors["bias"])))
        head.load_state_dict(tensors)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ArtifactError(asked, f"{WORDS} cannot be read: {error}", cure) from error
    if of != encoder.checkpoint.weights_sha256:
        raise ArtifactError(asked, f"{WORDS} was trained with other weights, '{of[:12]}'", cure)
    return head
