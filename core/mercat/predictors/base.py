"""What can be asked of a text, or of two, beside its one label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a text with a label: `text` is the characters from `start` up to `end`.

    `score` is the least calibrated probability among its words' tags, 0 to 1.
    """

    start: int
    end: int
    label: str
    score: float
    text: str


@runtime_checkable
class Tagger(Protocol):
    """Finds labelled spans in texts, such as names of people and places."""

    @property
    def labels(self) -> Sequence[str]:
        """The labels that a span can have."""
        ...

    def tag_many(self, texts: Sequence[str]) -> list[list[Span]]:
        """Return the spans of each text, in the order of the text; no two overlap."""
        ...


@dataclass(frozen=True, slots=True)
class Match:
    """What is said of two texts. `score` is the calibrated probability that they belong together, or a number.

    `label` is the likeliest one; empty where pairs are given numbers.
    """

    label: str
    score: float


@runtime_checkable
class Matcher(Protocol):
    """Says how two texts belong together: paraphrases or not, a question and its answer, how alike."""

    @property
    def labels(self) -> Sequence[str]:
        """The labels that a pair can have; none where it is given a number."""
        ...

    def scores(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Return shape (len(pairs),): the probability that they belong together, or the number learned."""
        ...

    def match_many(self, pairs: Sequence[tuple[str, str]]) -> list[Match]:
        """Return one Match per pair."""
        ...


@dataclass(frozen=True, slots=True)
class Scored:
    """A label that a text was given, with its calibrated probability, 0 to 1."""

    label: str
    score: float


@runtime_checkable
class Labeller(Protocol):
    """Gives a text any number of labels, none among them."""

    @property
    def labels(self) -> Sequence[str]:
        """The labels that it can give."""
        ...

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return shape (len(texts), len(labels)): the calibrated probability of each label by itself."""
        ...

    def label_many(self, texts: Sequence[str]) -> list[list[Scored]]:
        """Return the labels that each text is given, likeliest first."""
        ...


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number that was read off a text; the true one lies between `low` and `high` with the stated coverage."""

    value: float
    low: float
    high: float


@runtime_checkable
class Regressor(Protocol):
    """Reads a number off a text, such as a rating."""

    @property
    def coverage(self) -> float:
        """The share of true numbers, 0 to 1, that lie within their interval."""
        ...

    def estimate_many(self, texts: Sequence[str]) -> list[Estimate]:
        """Return one Estimate per text."""
        ...
