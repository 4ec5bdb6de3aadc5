"""To learn what a teacher says: cross-entropy with the labels and divergence from the teacher's probabilities.

Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network", https://arxiv.org/abs/1503.02531.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.training.classifying.objective import Labelled
from mercat.training.loop.batches import Encoded, pad
from mercat.training.loop.objective import Step

UNLABELLED = -1


class Taught(Labelled):
    """`hard` times the cross-entropy with labels, and the rest T² times the divergence from the teacher.

    `soft` has shape (train rows, labels): the teacher's probabilities at `temperature`, which the student's logits are
    divided by as well. Rows whose label is `UNLABELLED` learn from the teacher alone. Validates as `Labelled`.
    """

    def __init__(
        self,
        train: Encoded,
        validation: Encoded,
        *,
        soft: NDArray[np.float32],
        hard: float,
        temperature: float,
        **labelled: Any,
    ) -> None:
        if len(soft) != len(train):
            raise ValueError(f"{len(train)} train rows, of which a teacher has seen {len(soft)}")
        super().__init__(train, validation, **labelled)
        self._soft, self._hard, self._temperature = soft, hard, temperature

    def step(self, model: torch.nn.Module, rows: NDArray[np.int64]) -> Step:
        """Return the loss over these rows, and the share of them in which student and teacher agree."""
        device = next(model.parameters()).device
        ids, mask = pad([self.train.ids[row] for row in rows], self._pad_id)
        targets = torch.from_numpy(self.train.labels[rows]).to(device)
        soft = torch.from_numpy(self._soft[rows]).to(device)
        logits: torch.Tensor = model(ids.to(device), mask.to(device))
        weights = None if self._weights is None else self._weights.to(device)
        hard = torch.nn.functional.cross_entropy(
            logits,
            targets,
            weight=weights,
            label_smoothing=self._smoothing,
            reduction="none",
            ignore_index=UNLABELLED,
        )
        loss = self._hard * hard + (1.0 - self._hard) * self._divergence(logits, soft)
        agreed = float((logits.argmax(dim=1) == soft.argmax(dim=1)).float().mean())
        return Step(loss.mean(), {"agreement": agreed})

    def _divergence(self, logits: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
        """Return, per row, T² times the divergence of the student from the teacher: gradients stay of one size."""
        said = torch.log_softmax(logits / self._temperature, dim=1)
        apart = torch.nn.functional.kl_div(said, soft, reduction="none").sum(dim=1)
        return self._temperature**2 * apart
