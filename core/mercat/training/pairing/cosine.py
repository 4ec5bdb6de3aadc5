"""The simple method that a cross-encoder must beat: the cosine of the encoder's two vectors, and a threshold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mercat.encoders.base import Encoder
from mercat.values import Example


def cosines(encoder: Encoder, rows: Sequence[Example]) -> NDArray[np.float32]:
    """Return the cosine of the two texts of each row, shape (rows,)."""
    first, second = encoder.encode([row.text for row in rows]), encoder.encode([row.text_pair for row in rows])
    return np.asarray((first * second).sum(axis=1), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Threshold:
    """Gives one label from a cosine of `at` on, and another below."""

    at: float
    above: str
    below: str

    name = "cosine of the encoder as it is, with a fitted threshold"

    @classmethod
    def fit(cls, values: NDArray[np.float32], labels: Sequence[str]) -> Threshold:
        """Return the threshold, and the labels on its sides, by which most of these rows are right."""
        order = np.argsort(values, kind="stable")
        names, numbers = np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)
        one_hot = np.eye(len(names))[numbers[order]]
        below = np.concatenate([np.zeros((1, len(names))), np.cumsum(one_hot, axis=0)])
        above = below[-1] - below
        ties = np.append(np.append(False, np.diff(values[order]) == 0), False)
        right = np.where(ties, -1, below.max(axis=1) + above.max(axis=1))
        cut = int(right.argmax())
        edges = np.concatenate([values[order][:1] - 1, values[order], values[order][-1:] + 1])
        common = Counter(labels).most_common(1)[0][0]
        return cls(
            float((edges[cut] + edges[cut + 1]) / 2),
            str(names[above[cut].argmax()]) if above[cut].any() else common,
            str(names[below[cut].argmax()]) if below[cut].any() else common,
        )

    def labels(self, values: NDArray[np.float32]) -> list[str]:
        """Return a label per cosine."""
        return [self.above if value >= self.at else self.below for value in values]


@dataclass(frozen=True, slots=True)
class Line:
    """Gives a number by a straight line over the cosine."""

    slope: float
    start: float

    name = "cosine of the encoder as it is, with a fitted line"

    @classmethod
    def fit(cls, values: NDArray[np.float32], numbers: NDArray[np.float32]) -> Line:
        """Return the line of least squares."""
        slope, start = np.polyfit(values.astype(np.float64), numbers.astype(np.float64), 1)
        return cls(float(slope), float(start))

    def numbers(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a number per cosine, shape (rows,)."""
        return np.asarray(self.start + self.slope * values, dtype=np.float32)
