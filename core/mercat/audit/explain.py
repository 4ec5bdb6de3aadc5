"""Which words made a classifier say so: three methods that need nothing but its answers.

Occlusion leaves one word out (Zeiler and Fergus 2014; Li et al. 2016). The local linear model weighs random subsets by
their likeness to the text (LIME, Ribeiro et al. 2016). Shapley values are averaged over random orders in which words
are put in, each order forwards and backwards (Štrumbelj and Kononenko 2014, "Explaining prediction models and
individual predictions with feature contributions"; antithetic pairs after Mitchell et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mercat.audit.base import Score
from mercat.text import word_spans

Masks = NDArray[np.bool_]
Value = Callable[[Masks], NDArray[np.float64]]
"""Masks of shape (n, pieces), true where a piece stays, to values of shape (n,)."""
Spans = Sequence[tuple[int, int]]
MOST_PIECES = 40
_KERNEL_WIDTH = 0.25
_RIDGE = 1e-3


def pieces(text: str, *, most: int = MOST_PIECES) -> list[tuple[int, int]]:
    """Return (start, end) of every word; of a text with more than `most` words, of as many runs of words."""
    spans = word_spans(text)
    if len(spans) <= most:
        return spans
    runs = [run for run in np.array_split(np.arange(len(spans)), most) if len(run)]
    return [(spans[int(run[0])][0], spans[int(run[-1])][1]) for run in runs]


def without(text: str, spans: Spans, kept: Sequence[bool] | NDArray[np.bool_]) -> str:
    """Return the text with the pieces that are not kept cut out; what stands between pieces stays."""
    found, at = [], 0
    for (start, end), keep in zip(spans, kept, strict=True):
        found += [text[at:start], text[start:end] if keep else ""]
        at = end
    return " ".join("".join([*found, text[at:]]).split())


class Masked:
    """The probability of one label of a text with pieces cut out. A subset is asked about once."""

    def __init__(self, score: Score, text: str, spans: Spans, *, label: int) -> None:
        self._score, self._text, self._spans, self._label = score, text, spans, label
        self._known: dict[bytes, float] = {}

    def __call__(self, masks: Masks) -> NDArray[np.float64]:
        """Return shape (n,) for masks of shape (n, pieces)."""
        keys = [np.packbits(mask).tobytes() for mask in masks]
        new = {key: mask for key, mask in zip(keys, masks, strict=True) if key not in self._known}
        if new:
            texts = [without(self._text, self._spans, mask) for mask in new.values()]
            self._known |= dict(zip(new, map(float, self._score(texts)[:, self._label]), strict=True))
        return np.array([self._known[key] for key in keys], dtype=np.float64)


def occlusion(value: Value, size: int) -> NDArray[np.float64]:
    """Return what each piece adds to all others, shape (size,)."""
    masks = np.vstack([np.ones((1, size), dtype=bool), ~np.eye(size, dtype=bool)])
    found = value(masks)
    return np.asarray(found[0] - found[1:])


def local_linear(value: Value, size: int, *, samples: int = 150, seed: int = 0) -> NDArray[np.float64]:
    """Return the weights, shape (size,), of a linear model of the values of random subsets, near ones counting more."""
    rng = np.random.default_rng(seed)
    removed = rng.integers(1, size + 1, size=samples)
    ranks = rng.permuted(np.tile(np.arange(size), (samples, 1)), axis=1)
    masks = np.vstack([np.ones((1, size), dtype=bool), ranks >= removed[:, None]])
    distance = 1.0 - np.sqrt(masks.mean(axis=1))  # the cosine distance to the mask of the whole text
    weights = np.exp(-(distance**2) / _KERNEL_WIDTH**2)
    design = np.column_stack([np.ones(len(masks)), masks])
    penalty = np.diag([0.0] + [_RIDGE * weights.sum()] * size)
    weighted = design * weights[:, None]
    solved = np.linalg.solve(weighted.T @ design + penalty, weighted.T @ value(masks))
    return np.asarray(solved[1:])


def shapley(value: Value, size: int, *, orders: int = 12, seed: int = 0) -> NDArray[np.float64]:
    """Return the mean of what each piece adds when it is put in, shape (size,), over `orders` orders and their reverse.

    The weights sum to the value of the whole text minus that of the text without words.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(size) for _ in range(orders)]
    ranks = np.argsort([*drawn, *(order[::-1] for order in drawn)], axis=1)
    steps = np.arange(size + 1)
    masks = ranks[:, None, :] < steps[None, :, None]  # (orders, steps, pieces)
    values = value(masks.reshape(-1, size)).reshape(len(ranks), size + 1)
    gains = np.diff(values, axis=1)
    return np.asarray(np.take_along_axis(gains, ranks, axis=1).mean(axis=0))
