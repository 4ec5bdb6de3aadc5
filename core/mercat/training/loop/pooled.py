"""A body with one vector per text, or per pair of texts, and a linear layer on it; the loss is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.encoders.padded import pool
from mercat.training.loop.batches import length_batches, pad
from mercat.training.loop.objective import Step

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(outputs of shape (rows, outputs), targets) -> the mean over the rows, one number"""
Judge = Callable[[NDArray[np.float32], NDArray[Any]], Mapping[str, float]]
"""(outputs of shape (rows, outputs), targets) -> figures by name"""


class PooledModel(torch.nn.Module):
    """Token ids in, outputs out: body, pooling, scaling to length 1 if `unit`, linear head."""

    def __init__(self, body: Any, *, pooling: str, dimensions: int, outputs: int, unit: bool, dropout: float) -> None:
        super().__init__()
        self.body, self._pooling, self._unit = body, pooling, unit
        self.dropout = torch.nn.Dropout(dropout)
        self.head = torch.nn.Linear(dimensions, outputs)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor | None = None) -> torch.Tensor:
        """Return shape (rows, outputs); ids, mask and types have shape (rows, tokens)."""
        given = {"input_ids": ids, "attention_mask": mask} | ({} if types is None else {"token_type_ids": types})
        vectors = pool(self.body(**given).last_hidden_state, mask, self._pooling)
        if self._unit:
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        outputs: torch.Tensor = self.head(self.dropout(vectors))
        return outputs

    def start_from(self, weights: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        """Take over a head, weights (outputs, dimensions) and bias (outputs,), fitted on the body as it is."""
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(weights))
            self.head.bias.copy_(torch.from_numpy(bias))

    def head_arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the head's weights, shape (outputs, dimensions), and bias, shape (outputs,)."""
        weights, bias = self.head.weight.detach(), self.head.bias.detach()
        return weights.float().cpu().numpy().copy(), bias.float().cpu().numpy().copy()


@dataclass(frozen=True, slots=True)
class Rows:
    """Texts as token ids, with the target of each, shape (rows,) or (rows, outputs); `types` of pairs alone."""

    ids: Sequence[Sequence[int]]
    targets: NDArray[Any]
    types: Sequence[Sequence[int]] | None = None

    def __len__(self) -> int:
        return len(self.ids)


class Fitting:
    """The objective of `PooledModel`: a loss that is a mean over rows, and a judgement of the validation part.

    Validates by "loss" and by what `judge` says.
    """

    divisible = True

    def __init__(
        self, train: Rows, validation: Rows, *, pad_id: int, loss: Loss, judge: Judge, score_batch: int = 64
    ) -> None:
        self.train, self.validation = train, validation
        self._pad_id, self._loss, self._judge, self._score_batch = pad_id, loss, judge, score_batch
        self._lengths = [len(row) for row in train.ids]

    @property
    def lengths(self) -> Sequence[int]:
        """The tokens of each train row."""
        return self._lengths

    def step(self, model: torch.nn.Module, rows: NDArray[np.int64]) -> Step:
        """Return the loss over these rows."""
        outputs = _forward(model, self.train, rows, self._pad_id)
        return Step(self._loss(outputs, torch.from_numpy(self.train.targets[rows]).to(outputs.device)))

    def validate(self, model: torch.nn.Module) -> Mapping[str, float]:
        """Return the loss and the judgement on the validation part."""
        outputs = predict(model, self.validation, pad_id=self._pad_id, batch_size=self._score_batch)
        targets = self.validation.targets
        loss = self._loss(torch.from_numpy(outputs), torch.from_numpy(targets)).item()
        return {"loss": loss, **self._judge(outputs, targets)}


def predict(model: torch.nn.Module, part: Rows, *, pad_id: int, batch_size: int = 64) -> NDArray[np.float32]:
    """Return outputs of shape (rows, outputs) in the order of `part`, with the model in evaluation mode."""
    was_training, found = model.training, [np.zeros(0, dtype=np.float32)] * len(part)
    model.eval()
    with torch.inference_mode():
        for rows in length_batches([len(row) for row in part.ids], batch_size):
            for row, outputs in zip(rows, _forward(model, part, rows, pad_id).float().cpu().numpy(), strict=True):
                found[row] = outputs
    model.train(was_training)
    return np.asarray(found, dtype=np.float32)


def _forward(model: torch.nn.Module, part: Rows, rows: NDArray[np.int64], pad_id: int) -> torch.Tensor:
    device = next(model.parameters()).device
    ids, mask = pad([part.ids[row] for row in rows], pad_id)
    types = None if part.types is None else pad([part.types[row] for row in rows], 0)[0].to(device)
    outputs: torch.Tensor = model(ids.to(device), mask.to(device), types)
    return outputs
