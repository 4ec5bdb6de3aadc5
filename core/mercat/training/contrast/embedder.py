"""A pretrained body as what serving computes of it: token ids in, vectors of length 1 out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.encoders.padded import pool
from mercat.training.loop.batches import length_batches, pad

_RUN = 16  # texts of like length that are padded together: short ones do not pay for long ones
_SCORED = 64

Ids = Sequence[int]


class Embedder(torch.nn.Module):
    """Body, pooling, scaling to length 1."""

    def __init__(self, body: Any, *, pooling: str, pad_id: int) -> None:
        super().__init__()
        self.body, self.pooling, self.pad_id = body, pooling, pad_id

    def forward(self, rows: Sequence[Ids]) -> torch.Tensor:
        """Return one unit vector per row of token ids, with its graph. The shape is (rows, dimensions)."""
        runs = length_batches([len(row) for row in rows], _RUN)
        found = torch.cat([self._unit([rows[row] for row in run]) for run in runs])
        back = np.argsort(np.concatenate(runs), kind="stable")
        return found[torch.from_numpy(back).to(found.device)]

    def arrays(self, rows: Sequence[Ids]) -> NDArray[np.float32]:
        """Return one unit vector per row, computed in evaluation mode. The shape is (rows, dimensions)."""
        was_training, found = self.training, [np.zeros(0, dtype=np.float32)] * len(rows)
        self.eval()
        with torch.inference_mode():
            for run in length_batches([len(row) for row in rows], _SCORED):
                vectors = self._unit([rows[row] for row in run]).float().cpu().numpy()
                for row, vector in zip(run, vectors, strict=True):
                    found[row] = vector
        self.train(was_training)
        return np.stack(found)

    def _unit(self, rows: Sequence[Ids]) -> torch.Tensor:
        device = next(self.parameters()).device
        ids, mask = (tensor.to(device) for tensor in pad(rows, self.pad_id))
        hidden = self.body(input_ids=ids, attention_mask=mask).last_hidden_state
        return torch.nn.functional.normalize(pool(hidden, mask, self.pooling), dim=1)
