"""A body as it learns by contrast: its tokenizer and roles beside it, and the encoder that is saved of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mercat.encoders.base import Role, Vectors
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError
from mercat.training.base import Run
from mercat.training.classifying.model import freeze, token_ids
from mercat.training.contrast.embedder import Embedder, Ids
from mercat.training.estimating import sampled_seconds
from mercat.training.loop.running import seeded

_ALIKE = 0.999  # the least cosine of what was trained and what is served, in any number format
_COMPARED = 32


class TunedBody:
    """The body of `base` on the device that it learns on; the lowest `freeze_layers` stay as they are.

    Raises ConfigError when nothing is left to learn.
    """

    def __init__(self, base: Transformer, run: Run, *, freeze_layers: int, device: str) -> None:
        self.base = base
        body, self.tokenizer = base.load_for_training()
        freeze(body, layers=freeze_layers)
        with seeded(run.seed):
            self.embedder = Embedder(body, pooling=base.pooling, pad_id=base.checkpoint.pad_id)
        self.embedder.to(run.world.device(device).name)

    def ids(self, texts: Sequence[str], *, role: Role) -> list[Ids]:
        """Return the token ids of each text, the same that the saved encoder will see."""
        return list(token_ids(self.base, self.tokenizer, texts, role=role))

    def encode(self, texts: Sequence[str], *, role: Role) -> Vectors:
        """Return unit vectors of the body as it is now. The shape is (texts, dimensions)."""
        if not texts:
            return np.zeros((0, self.base.dimensions), dtype=np.float32)
        return self.embedder.arrays(self.ids(texts, role=role))

    def seconds(self, rows: Sequence[Ids], *, clock: Callable[[], float]) -> float:
        """Return about how long it takes to encode these rows of token ids, from some of all lengths."""
        return sampled_seconds(self.embedder.arrays, rows, clock=clock, budget_s=1.0)

    def saved(self, folder: Path, *, like: Sequence[str], role: Role) -> Transformer:
        """Write the encoder into a folder and return it, when it encodes the texts `like` as the body does.

        Raises ArtifactError otherwise.
        """
        trained = self.encode(like[:_COMPARED], role=role)
        body: Any = self.embedder.body
        self.base.save_body(body.cpu(), self.tokenizer, folder)
        served = Transformer.from_folder(folder)
        cosine = float((served.encode(like[:_COMPARED], role=role) * trained).sum(axis=1).min())
        if not cosine >= _ALIKE:
            raise ArtifactError(
                "What was saved must encode as what was trained",
                f"The cosine of a text's vectors is {cosine:.4f}",
                "device = 'cpu', and report this model",
            )
        return served
