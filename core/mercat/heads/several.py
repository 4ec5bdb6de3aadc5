"""Any number of labels from a vector: one sigmoid per label, calibrated together, with a threshold for each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.errors import ArtifactError, DataError
from mercat.heads.base import Vectors
from mercat.heads.calibrate import fit_temperature
from mercat.heads.files import read_head, write_head

_TYPE = "several"
_OWN = 10  # validation rows from which on a label has a threshold of its own


@dataclass(frozen=True, eq=False)
class SeveralHead:
    """Scores = sigmoid((vectors @ weights.T + bias) / temperature); a label is given from its threshold on.

    `weights` has shape (labels, dimensions), `bias` and `thresholds` (labels,), float32.
    """

    labels: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    fingerprint: str
    temperature: float = 1.0

    def logits(self, vectors: Vectors) -> NDArray[np.float32]:
        """Return shape (rows, labels), before calibration. Raises DataError for vectors of other dimensions."""
        if vectors.ndim != 2 or vectors.shape[1] != self.weights.shape[1]:
            raise DataError(
                f"The head takes vectors of {self.weights.shape[1]} dimensions",
                f"It was given an array of shape {vectors.shape}",
                "the encoder that the head was fitted with",
            )
        return np.asarray(vectors @ self.weights.T + self.bias, dtype=np.float32)

    def scores(self, vectors: Vectors) -> NDArray[np.float32]:
        """Return shape (rows, labels): the probability of each label by itself."""
        return sigmoid(self.logits(vectors) / self.temperature)

    def given(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which labels each row is given, from `scores`, in the same shape (rows, labels)."""
        return np.asarray(scores >= self.thresholds, dtype=np.bool_)

    def calibrated(self, vectors: Vectors, truth: NDArray[np.bool_]) -> SeveralHead:
        """Return the same weights with temperature and thresholds by validation rows, `truth` of (rows, labels).

        One temperature serves all labels, and those with fewer than 10 rows share a threshold, the best for all cells
        together: what a few rows choose is good for them alone.
        """
        flat = self.logits(vectors).reshape(-1, 1)
        cells = np.concatenate([np.zeros_like(flat), flat], axis=1)  # softmax over (0, z) is the sigmoid of z
        head = replace(self, temperature=fit_temperature(cells, truth.reshape(-1).astype(np.intp)))
        scores = head.scores(vectors)
        shared = best_threshold(scores.reshape(-1), truth.reshape(-1))
        own = truth.sum(axis=0) >= _OWN
        chosen = [best_threshold(scores[:, at], truth[:, at]) if own[at] else shared for at in range(len(own))]
        return replace(head, thresholds=np.array(chosen, dtype=np.float32))

    def save(self, folder: Path) -> None:
        """Write `head.safetensors` and `head.json` into an existing folder. No pickle."""
        meta = {"labels": list(self.labels), "fingerprint": self.fingerprint, "temperature": self.temperature}
        arrays = {"weights": self.weights, "bias": self.bias, "thresholds": self.thresholds}
        write_head(folder, _TYPE, meta, arrays)

    @classmethod
    def load(cls, folder: Path) -> SeveralHead:
        """Read what `save` wrote. Raises ArtifactError when it is another kind of head, or does not fit together."""
        meta, arrays = read_head(folder, _TYPE)
        labels = tuple(meta["labels"])
        sizes = {len(arrays[name]) for name in ("weights", "bias", "thresholds")}
        if sizes != {len(labels)}:
            found = f"Its arrays have {sorted(sizes)} rows"
            raise ArtifactError(f"The head in {folder.name} names {len(labels)} labels", found, "mercat train, again")
        return cls(labels, **arrays, fingerprint=meta["fingerprint"], temperature=meta["temperature"])


def sigmoid(logits: NDArray[Any]) -> NDArray[np.float32]:
    """Return probabilities in the shape of the logits."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)), dtype=np.float32)


def best_threshold(scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Return the threshold with the best F1 on these rows, both of shape (rows,); 0.5 where no row has the label.

    It lies half-way between two scores, so that rounding does not matter.
    """
    if not truth.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order].astype(np.float64), np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + truth.sum())
    ends = np.append(ranked[:-1] != ranked[1:], True)  # rows of equal score are given the label together
    place = int(np.where(ends, f1, -1).argmax())
    below = ranked[place + 1] if place + 1 < len(ranked) else 0.0
    return float((ranked[place] + below) / 2)
