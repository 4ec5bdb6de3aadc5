"""What a transformer's body says of each token, for tags of words and pairs of texts."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mercat.compute.device import choose_device
from mercat.encoders.base import Vectors
from mercat.encoders.batching import Ids, pad, plan
from mercat.encoders.padded import load_module, pool
from mercat.encoders.transformer import Transformer

if TYPE_CHECKING:
    import torch

_ON_CPU, _ON_GPU = 2048, 65536  # tokens in a batch


class TokenStates:
    """The body saved in a folder, run on token ids. Weights load on the first call; safe to ask from several threads.

    `shapes`, of shape (kinds, dimensions), is added to the word embedding of each token by its kind.
    """

    def __init__(self, folder: Path, *, shapes: NDArray[np.float32] | None = None, device: str = "auto") -> None:
        self.encoder = Transformer.from_folder(folder)
        self._shapes, self._device = shapes, device
        self._lock = threading.Lock()
        self._module: Any = None

    @cached_property
    def tokenizer(self) -> Any:
        """The `tokenizers.Tokenizer` of the folder, cutting at the encoder's `max_tokens`."""
        return self.encoder.load_tokenizer()

    def warm_up(self) -> None:
        """Load the weights now."""
        self._load()

    def at(
        self, rows: Sequence[Ids], places: Sequence[Sequence[int]], *, kinds: Sequence[Sequence[int]] | None = None
    ) -> list[Vectors]:
        """Return, per row of token ids, the vectors at some of its tokens, each of shape (places, dimensions).

        `kinds` has, per row, the kind of each token, for bodies with `shapes`.
        """
        found: list[Vectors] = [np.zeros((0, self.encoder.dimensions), dtype=np.float32)] * len(rows)
        for batch, hidden, _ in self._batches(rows, kinds=kinds):
            for number, row in enumerate(batch):
                found[row] = hidden[number, list(places[row])].cpu().numpy()
        return found

    def pooled(self, rows: Sequence[Ids], *, types: Sequence[Sequence[int]] | None = None) -> Vectors:
        """Return one vector per row, pooled as the encoder does, of any length. The shape is (rows, dimensions).

        `types` has, per row, 0 or 1 for each token: the first text or the second.
        """
        found = np.zeros((len(rows), self.encoder.dimensions), dtype=np.float32)
        for batch, hidden, mask in self._batches(rows, types=types):
            found[batch] = pool(hidden, mask, self.encoder.pooling).cpu().numpy()
        return found

    def _batches(
        self,
        rows: Sequence[Ids],
        *,
        kinds: Sequence[Sequence[int]] | None = None,
        types: Sequence[Sequence[int]] | None = None,
    ) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
        """Yield (row numbers, vectors of their tokens in float32, attention mask), rows of like length together."""
        import torch

        module, device = self._load(), choose_device(self._device).name
        for batch in plan([len(row) for row in rows], budget=_ON_CPU if device == "cpu" else _ON_GPU):
            ids, mask = (
                torch.from_numpy(each).to(device) for each in pad([rows[row] for row in batch], pad_id=self._pad_id)
            )
            with torch.inference_mode():
                given: dict[str, Any] = {"input_ids": ids}
                if types is not None:
                    given["token_type_ids"] = _padded([types[row] for row in batch]).to(device)
                if self._shapes is not None and kinds is not None:
                    table = torch.from_numpy(self._shapes).to(device)
                    given = {
                        "inputs_embeds": shaped(module, ids, _padded([kinds[row] for row in batch]).to(device), table)
                    }
                yield batch, module(attention_mask=mask, **given).last_hidden_state.float(), mask

    @property
    def _pad_id(self) -> int:
        return self.encoder.checkpoint.pad_id

    def _load(self) -> Any:
        with self._lock:
            if self._module is None:
                self._module = load_module(self.encoder.checkpoint).eval().to(choose_device(self._device).name)
            return self._module


def shaped(body: Any, ids: torch.Tensor, kinds: torch.Tensor, shapes: torch.Tensor) -> torch.Tensor:
    """Return word embeddings with those of the words' kinds added, shape (texts, tokens, dimensions).

    `ids` and `kinds` have shape (texts, tokens), `shapes` (kinds, dimensions).
    """
    words: torch.Tensor = body.get_input_embeddings()(ids)
    moved: torch.Tensor = words + shapes[kinds]
    return moved


def _padded(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    import torch

    return torch.from_numpy(pad(rows, pad_id=0)[0])
