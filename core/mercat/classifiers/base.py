"""What a classifier is: texts in, calibrated label scores out. Joins an encoder and a head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Prediction:
    """One text's labels, best first. `abstained` is true when the best score is below the classifier's threshold."""

    labels: Sequence[str]
    scores: Sequence[float]  # calibrated probabilities, same order as labels
    abstained: bool

    @property
    def label(self) -> str:
        """The best label."""
        return self.labels[0]

    @property
    def confidence(self) -> float:
        """The calibrated probability of the best label, 0 to 1."""
        return self.scores[0]


@runtime_checkable
class Classifier(Protocol):
    """Scores the labels of texts."""

    @property
    def labels(self) -> Sequence[str]:
        """The labels that it can give."""
        ...

    @property
    def threshold(self) -> float:
        """The probability (0 to 1) below which a prediction abstains."""
        ...

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return shape (len(texts), len(labels)): calibrated probabilities, columns in the order of `labels`."""
        ...

    def predict_many(self, texts: Sequence[str], *, top: int = 5) -> list[Prediction]:
        """Return one Prediction per text with its `top` labels."""
        ...
