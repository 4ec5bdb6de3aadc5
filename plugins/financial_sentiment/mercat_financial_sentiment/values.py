"""What the monitor is asked and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mercat.values import Answer, Request

Polarity = Literal["negative", "neutral", "positive"]


@dataclass(frozen=True, slots=True)
class SignalQuery(Request):
    """An article (`text`), or a topic as of `at` (now by default) over the last `hours`."""

    text: str = ""
    topic: str = ""
    hours: int = 24


@dataclass(frozen=True, slots=True)
class Signal(Answer):
    """Of a text: `value` is its polarity. Of a topic: "surge", "calm" or "thin" (too few stories to say).

    `confidence` of "surge" is the probability that the negative share is above its baseline, of "calm" that it is not.
    Counts are stories, not copies.
    """

    topics: Sequence[str] = ()
    polarity: Mapping[str, float] = field(default_factory=dict)
    stories: int = 0
    negative: int = 0
    baseline: float = 0.0
