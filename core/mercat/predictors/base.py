"""What can be asked of a text, or of two, beside its one label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


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
