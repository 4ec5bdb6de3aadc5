"""One tag per word from the vectors of words: a linear layer, calibrated, and the best sequence that BIO allows.

Ramshaw and Marcus 1995, https://arxiv.org/abs/cmp-lg/9505040 (BIO); Viterbi 1967 (the best path).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mercat.errors import ArtifactError, DataError
from mercat.heads.base import Vectors
from mercat.heads.calibrate import fit_temperature, softmax
from mercat.heads.files import read_head, write_head

OUTSIDE = "O"
_TYPE = "tags"
_NEVER = -1e9


@dataclass(frozen=True, eq=False)
class TagHead:
    """Scores = softmax((vectors @ weights.T + bias) / temperature) over `tags`: "O", "B-PER", "I-PER", …

    `weights` has shape (tags, dimensions) and `bias` (tags,), float32. With `constrained` a sequence of tags is the
    likeliest one in which every I- follows its B- or I-; without, each word has its own likeliest tag. `shapes`, of
    shape (kinds of words, dimensions), is added to what the encoder's body reads of a word; empty for none.
    """

    tags: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    fingerprint: str
    constrained: bool = True
    temperature: float = 1.0
    shapes: NDArray[np.float32] | None = None

    def logits(self, vectors: Vectors) -> NDArray[np.float32]:
        """Return shape (words, tags). Raises DataError for vectors of other dimensions."""
        if vectors.ndim != 2 or vectors.shape[1] != self.weights.shape[1]:
            raise DataError(
                f"The head takes vectors of {self.weights.shape[1]} dimensions",
                f"It was given an array of shape {vectors.shape}",
                "the encoder that the head was fitted with",
            )
        return np.asarray(vectors @ self.weights.T + self.bias, dtype=np.float32)

    def scores(self, vectors: Vectors) -> NDArray[np.float32]:
        """Return shape (words, tags): calibrated probabilities that sum to 1 for each word."""
        return self.probabilities(self.logits(vectors))

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what `logits`, shape (words, tags), mean once they are calibrated, in the same shape."""
        return softmax(logits / self.temperature).astype(np.float32) if len(logits) else logits

    def decode(self, scores: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the number of each word's tag, shape (words,), from the `scores` of one text."""
        if not len(scores) or not self.constrained:
            return np.asarray(scores.argmax(axis=1), dtype=np.int64)
        return viterbi(np.log(np.maximum(scores, 1e-30)), *transitions(self.tags))

    def calibrated(self, logits: NDArray[np.float32], targets: NDArray[np.int64]) -> TagHead:
        """Return the same head with the temperature fitted on words, `logits` (words, tags), `targets` (words,)."""
        return replace(self, temperature=fit_temperature(logits, targets)) if len(targets) else self

    def save(self, folder: Path) -> None:
        """Write `head.safetensors` and `head.json` into an existing folder. No pickle."""
        arrays = {"weights": self.weights, "bias": self.bias}
        if self.shapes is not None:
            arrays["shapes"] = self.shapes
        meta = {
            "tags": list(self.tags),
            "fingerprint": self.fingerprint,
            "constrained": self.constrained,
            "temperature": self.temperature,
        }
        write_head(folder, _TYPE, meta, arrays)

    @classmethod
    def load(cls, folder: Path) -> TagHead:
        """Read what `save` wrote. Raises ArtifactError when it is another kind of head, or does not fit together."""
        meta, arrays = read_head(folder, _TYPE)
        tags, weights, bias = tuple(meta["tags"]), arrays["weights"], arrays["bias"]
        if weights.shape[:1] != (len(tags),) or bias.shape != (len(tags),):
            found = f"Its weights have shape {weights.shape}"
            raise ArtifactError(f"The head in {folder.name} names {len(tags)} tags", found, "mercat train, again")
        return cls(
            tags,
            weights,
            bias,
            meta["fingerprint"],
            constrained=meta["constrained"],
            temperature=meta["temperature"],
            shapes=arrays.get("shapes"),
        )


def entities(tags: Sequence[str], *, strict: bool = False) -> list[tuple[int, int, str]]:
    """Return (first word, word after the last, label) of each span that BIO tags say, in order.

    An I- that continues nothing begins a span, as in the scorer of CoNLL-2003; if `strict` it belongs to none.

    >>> entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    [(0, 2, 'PER'), (3, 4, 'LOC'), (4, 5, 'LOC')]
    """
    found: list[tuple[int, int, str]] = []
    open_ = ""
    for place, tag in enumerate(tags):
        label = tag[2:]
        if tag.startswith("I-") and label == open_:
            found[-1] = (found[-1][0], place + 1, label)
        elif tag.startswith("B-") or (tag.startswith("I-") and not strict):
            found.append((place, place + 1, label))
            open_ = label
        else:
            open_ = ""
    return found


@cache
def transitions(tags: tuple[str, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (first, next): 0 where BIO allows a tag at the beginning, and after another; far below 0 otherwise.

    The shapes are (tags,) and (tags before, tags after).
    """
    inside = np.array([tag.startswith("I-") for tag in tags])
    labels = [tag[2:] for tag in tags]
    follows = np.array([[left == right and bool(left) for right in labels] for left in labels])
    first = np.where(inside, _NEVER, 0.0)
    return first, np.where(inside[None, :] & ~follows, _NEVER, 0.0)


def viterbi(scores: NDArray[np.float64], first: NDArray[np.float64], next: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the path with the largest sum of `scores`, shape (words, tags), and transitions. The shape is (words,)."""
    best = scores[0] + first
    back = np.zeros(scores.shape, dtype=np.int64)
    for word in range(1, len(scores)):
        through = best[:, None] + next
        back[word] = through.argmax(axis=0)
        best = through.max(axis=0) + scores[word]
    path = np.zeros(len(scores), dtype=np.int64)
    path[-1] = best.argmax()
    for word in range(len(scores) - 1, 0, -1):
        path[word - 1] = back[word, path[word]]
    return path
