"""Series of a topic in event time: pure functions over mentions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mercat_financial_sentiment.detectors import Counts
from mercat_financial_sentiment.tables import MentionRow


@dataclass(frozen=True, slots=True)
class Day:
    """One day of a topic: stories by polarity, and copies of them. A polarity that is not sure counts as neutral."""

    day: datetime
    negative: int
    neutral: int
    positive: int
    copies: int


def counts_at(mentions: Sequence[MentionRow], at: datetime, *, window: timedelta, history: timedelta) -> Counts:
    """Count stories in (at - window, at] and in the `history` before it. `mentions` are sorted by event time."""
    times = [mention.event_at for mention in mentions]
    end, middle = bisect_right(times, at), bisect_right(times, at - window)
    start = bisect_right(times, at - window - history)
    recent, before = _stories(mentions[middle:end]), _stories(mentions[start:middle])
    return Counts(len(recent), _negative(recent), len(before), _negative(before))


def drivers(mentions: Sequence[MentionRow], at: datetime, *, window: timedelta, most: int = 5) -> list[MentionRow]:
    """Return the most negative stories of the window."""
    recent = [m for m in _stories(mentions) if at - window < m.event_at <= at and m.label == "negative"]
    recent = [m for m in recent if not m.abstained]
    return sorted(recent, key=lambda mention: (-mention.negative, mention.event_at, mention.article))[:most]


def by_day(mentions: Sequence[MentionRow]) -> list[Day]:
    """Return one row per day from the first mention to the last, days without any included."""
    if not mentions:
        return []
    first = mentions[0].event_at.replace(hour=0, minute=0, second=0, microsecond=0)
    days = (mentions[-1].event_at - first).days + 1
    rows = []
    for number in range(days):
        start = first + timedelta(days=number)
        within = [m for m in mentions if start <= m.event_at < start + timedelta(days=1)]
        labels = ["neutral" if m.abstained else m.label for m in _stories(within)]
        rows.append(
            Day(
                start,
                labels.count("negative"),
                labels.count("neutral"),
                labels.count("positive"),
                len(within) - len(labels),
            )
        )
    return rows


def _stories(mentions: Sequence[MentionRow]) -> list[MentionRow]:
    return [mention for mention in mentions if not mention.copy_of]


def _negative(mentions: Sequence[MentionRow]) -> int:
    return sum(mention.label == "negative" and not mention.abstained for mention in mentions)
