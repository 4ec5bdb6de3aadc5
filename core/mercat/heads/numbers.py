"""A number from a vector: a linear layer, and an interval that holds what it promises.

Papadopoulos et al. 2002, "Inductive Confidence Machines for Regression"; Lei et al. 2018,
https://arxiv.org/abs/1604.04173 (split conformal prediction).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.errors import ArtifactError, DataError
from mercat.heads.base import Vectors
from mercat.heads.files import read_head, write_head

_TYPE = "number"


@dataclass(frozen=True, eq=False)
class NumberHead:
    """value = mean + scale * (vector @ weights + bias); `weights` has shape (dimensions,), float32.

    A true value lies within `margin` of the value for a share `coverage` of texts like those it was calibrated on;
    a margin of infinity says that there were too few of them to promise that.
    """

    weights: NDArray[np.float32]
    bias: float
    fingerprint: str
    mean: float = 0.0
    scale: float = 1.0
    margin: float = math.inf
    coverage: float = 0.9

    def values(self, vectors: Vectors) -> NDArray[np.float32]:
        """Return a number per vector. The shape is (rows,). Raises DataError for vectors of other dimensions."""
        if vectors.ndim != 2 or vectors.shape[1] != len(self.weights):
            raise DataError(
                f"The head takes vectors of {len(self.weights)} dimensions",
                f"It was given an array of shape {vectors.shape}",
                "the encoder that the head was fitted with",
            )
        return np.asarray(self.mean + self.scale * (vectors @ self.weights + self.bias), dtype=np.float32)

    def calibrated(self, values: NDArray[Any], true: NDArray[Any], *, coverage: float) -> NumberHead:
        """Return the same head with the margin by the errors on rows that chose nothing; both of shape (rows,)."""
        errors = np.sort(np.abs(np.asarray(values, dtype=np.float64) - np.asarray(true, dtype=np.float64)))
        place = math.ceil((len(errors) + 1) * coverage)  # one more than there are: the row that is asked about
        margin = float(errors[place - 1]) if place <= len(errors) else math.inf
        return replace(self, margin=margin, coverage=coverage)

    def save(self, folder: Path) -> None:
        """Write `head.safetensors` and `head.json` into an existing folder. No pickle."""
        meta = {
            "bias": self.bias,
            "fingerprint": self.fingerprint,
            "mean": self.mean,
            "scale": self.scale,
            "margin": self.margin if math.isfinite(self.margin) else None,
            "coverage": self.coverage,
        }
        write_head(folder, _TYPE, meta, {"weights": self.weights})

    @classmethod
    def load(cls, folder: Path) -> NumberHead:
        """Read what `save` wrote. Raises ArtifactError when it is another kind of head, or does not fit together."""
        meta, arrays = read_head(folder, _TYPE)
        if arrays["weights"].ndim != 1:
            found = f"Its weights have shape {arrays['weights'].shape}"
            raise ArtifactError(f"The head in {folder.name} gives one number", found, "mercat train, again")
        margin = math.inf if meta["margin"] is None else float(meta["margin"])
        return cls(
            arrays["weights"],
            meta["bias"],
            meta["fingerprint"],
            mean=meta["mean"],
            scale=meta["scale"],
            margin=margin,
            coverage=meta["coverage"],
        )
