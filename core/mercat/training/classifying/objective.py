"""To learn one label per text: mean cross-entropy over token ids in, logits out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.training.compare import mean_f1
from mercat.training.loop.batches import Encoded, length_batches, pad
from mercat.training.loop.objective import Step


class Labelled:
    """The objective of models whose `forward(input_ids, attention_mask)` gives logits of shape (rows, labels).

    `class_weights` has shape (labels,). Validates by "loss", "accuracy" and "macro_f1".
    """

    divisible = True

    def __init__(
        self,
        train: Encoded,
        validation: Encoded,
        *,
        pad_id: int,
        label_smoothing: float = 0.0,
        class_weights: NDArray[np.float32] | None = None,
        score_batch: int = 64,
    ) -> None:
        self.train, self.validation, self._pad_id, self._score_batch = train, validation, pad_id, score_batch
        self._weights = None if class_weights is None else torch.from_numpy(class_weights)
        self._smoothing = label_smoothing
        self._lengths = [len(row) for row in train.ids]

    @property
    def lengths(self) -> Sequence[int]:
        """The tokens of each train row."""
        return self._lengths

    def step(self, model: torch.nn.Module, rows: NDArray[np.int64]) -> Step:
        """Return the cross-entropy over these rows, and the share of them that is answered right."""
        device = next(model.parameters()).device
        ids, mask = pad([self.train.ids[row] for row in rows], self._pad_id)
        targets = torch.from_numpy(self.train.labels[rows]).to(device)
        logits: torch.Tensor = model(ids.to(device), mask.to(device))
        weights = None if self._weights is None else self._weights.to(device)
        loss = torch.nn.functional.cross_entropy(logits, targets, weight=weights, label_smoothing=self._smoothing)
        right = float((logits.argmax(dim=1) == targets).float().mean())
        return Step(loss, {"accuracy": right}, weight=None if weights is None else float(weights[targets].sum()))

    def validate(self, model: torch.nn.Module) -> dict[str, float]:
        """Return cross-entropy, accuracy and macro F1 on the validation part, without weights and smoothing."""
        logits = predict(model, self.validation, pad_id=self._pad_id, batch_size=self._score_batch)
        guessed, true = logits.argmax(axis=1), self.validation.labels
        loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(true)).item()
        return {
            "loss": loss,
            "accuracy": float((guessed == true).mean()),
            "macro_f1": mean_f1(true, guessed, logits.shape[1]),
        }


def predict(model: torch.nn.Module, part: Encoded, *, pad_id: int, batch_size: int = 64) -> NDArray[np.float32]:
    """Return logits of shape (rows, labels) in the order of `part`, with the model in evaluation mode."""
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    found: list[Any] = [None] * len(part)
    with torch.inference_mode():
        for rows in length_batches([len(row) for row in part.ids], batch_size):
            ids, mask = pad([part.ids[row] for row in rows], pad_id)
            for row, logits in zip(rows, model(ids.to(device), mask.to(device)).float().cpu().numpy(), strict=True):
                found[row] = logits
    model.train(was_training)
    return np.asarray(found, dtype=np.float32)
