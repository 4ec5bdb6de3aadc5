"""What a head is: vectors of one encoder in, calibrated scores per label out. Heads never see text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Scores = NDArray[np.float32]


@runtime_checkable
class Head(Protocol):
    """Scores labels from vectors.

    `fingerprint` is that of the encoder whose vectors it was fitted on. `threshold` is the confidence below which the
    owner wants an abstention; it is chosen on validation rows.
    """

    @property
    def labels(self) -> Sequence[str]:
        """The labels, in the order of the columns of `scores`."""
        ...

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the encoder whose vectors it was fitted on."""
        ...

    @property
    def threshold(self) -> float:
        """The probability (0 to 1) below which it is better to abstain; 0 never abstains."""
        ...

    def scores(self, vectors: Vectors) -> Scores:
        """Return shape (len(vectors), len(labels)): calibrated probabilities that sum to 1 in each row."""
        ...

    def familiarity(self, vectors: Vectors) -> NDArray[np.float32]:
        """Return how far each vector speaks for any label at all, low for what belongs to none: shape (rows,)."""
        ...

    def save(self, folder: Path) -> None:
        """Write `head.safetensors` and `head.json` into an existing folder. No pickle."""
        ...
