"""What is learned of pairs: one of several labels, or a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.errors import ConfigError
from mercat.evaluation.numbers import spearman
from mercat.training.compare import mean_f1
from mercat.training.numbers import numbers_of
from mercat.values import Example

_POSITIVE = ("1", "yes", "true", "paraphrase", "duplicate", "entailment", "relevant", "match", "same")


def positive_of(labels: Sequence[str], asked: str, *, key: str = "positive") -> str:
    """Return the label of texts that belong together: the one asked for, a usual word for yes, or of two the last.

    Raises ConfigError, which names `key`, where that cannot be told.
    """
    usual = [label for label in labels if label.lower() in _POSITIVE]
    found = asked or (usual[0] if usual else labels[-1] if len(labels) == 2 else "")
    if found not in labels:
        said = f"{key} = '{asked}'" if asked else "Which label says that texts belong together"
        raise ConfigError(said, f"The labels are {', '.join(labels[:20])}", f"{key} = '{labels[0]}'")
    return found


@dataclass(frozen=True, slots=True)
class Task:
    """What is learned of the pairs: one of `labels`, of which `positive` says that they belong together, or a number.

    `mean` and `scale` are those of the numbers of the train part.
    """

    labels: tuple[str, ...] = ()
    positive: str = ""
    mean: float = 0.0
    scale: float = 1.0

    def targets(self, rows: Sequence[Example]) -> NDArray[Any]:
        """Return the number of each row's label, or its number in units of `scale` around `mean`. Shape (rows,)."""
        if self.labels:
            return np.array([self.labels.index(row.label) for row in rows], dtype=np.int64)
        return np.asarray((numbers_of(rows) - self.mean) / self.scale, dtype=np.float32)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return cross-entropy, or the mean squared error."""
        if self.labels:
            return torch.nn.functional.cross_entropy(outputs, targets)
        return torch.nn.functional.mse_loss(outputs[:, 0], targets)

    def judge(self, outputs: NDArray[np.float32], targets: NDArray[Any]) -> Mapping[str, float]:
        """Return the validation figures of labels or of numbers."""
        if not self.labels:
            return {"spearman": spearman(targets, outputs[:, 0])}
        guessed = outputs.argmax(axis=1)
        right = float((guessed == targets).mean())
        return {"accuracy": right, "macro_f1": mean_f1(targets, guessed, len(self.labels))}
