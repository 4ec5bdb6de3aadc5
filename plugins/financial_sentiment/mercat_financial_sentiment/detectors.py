"""Has the negative share of a topic surged? Pure functions of counts: no clock, no store.

The question "are k negative of n stories surprising where p used to be negative" has the answer
P(X >= k), X ~ Binomial(n, p): small means surprising. p is the share of the weeks before, drawn towards a prior while
there is little history.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from mercat.errors import ConfigError

State = Literal["surge", "calm", "thin"]
_LONGEST_HOURS = 3660 * 24


def check_length(name: str, value: float) -> None:
    """Raise ConfigError for a stretch of time of the config that is not above 0 or longer than ten years."""
    unit_hours = 24 if name.endswith("_days") else 1
    if not 0 < value * unit_hours <= _LONGEST_HOURS:
        raise ConfigError(
            f"{name} = {value}", "It is above 0 and at most ten years", f"{name} = {28 if unit_hours > 1 else 24}"
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """Stories of a topic in the window and in the baseline before it."""

    stories: int
    negative: int
    baseline_stories: int
    baseline_negative: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a detector says. `p_value` is the probability of so many negative stories in a calm time."""

    state: State
    p_value: float
    baseline: float
    probability: float  # that the share is above the baseline
    reason: str


class Detector(Protocol):
    """Judges the counts of one topic at one moment."""

    def judge(self, counts: Counts) -> Verdict:
        """Return the verdict on counts of one topic as of their moment. A pure function."""
        ...


@dataclass(frozen=True, slots=True)
class BinomialSurge:
    """Binomial surprise of the negative share.

    `alpha` is the p-value below which it alerts; `min_negative` the negative stories without which it never does;
    `min_baseline` the stories of history without which it says "thin"; `prior_share` and `prior_weight` (in stories)
    what is believed before there is history. Raises ConfigError for an `alpha` that is no probability and for a
    `min_negative` below 1.
    """

    alpha: float = 1e-4
    min_negative: int = 5
    min_baseline: int = 20
    prior_share: float = 0.2
    prior_weight: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ConfigError(f"alpha = {self.alpha}", "It is a probability between 0 and 1", "alpha = 1e-4")
        if self.min_negative < 1:
            raise ConfigError(f"min_negative = {self.min_negative}", "It is at least 1", "min_negative = 5")

    def judge(self, counts: Counts) -> Verdict:
        """Return the verdict."""
        total = counts.baseline_stories + self.prior_weight
        baseline = (counts.baseline_negative + self.prior_share * self.prior_weight) / total
        p_value = binomial_tail(counts.negative, counts.stories, baseline)
        probability = _above(counts, baseline, total)
        if counts.baseline_stories < self.min_baseline:
            reason = f"only {counts.baseline_stories} stories of history, {self.min_baseline} are needed"
            return Verdict("thin", p_value, baseline, probability, reason)
        share = counts.negative / counts.stories if counts.stories else 0.0
        said = f"{counts.negative} of {counts.stories} stories are negative ({share:.0%}), usually {baseline:.0%}"
        surge = p_value < self.alpha and counts.negative >= self.min_negative
        return Verdict("surge" if surge else "calm", p_value, baseline, probability, f"{said}; p = {p_value:.1e}")


def binomial_tail(k: int, n: int, p: float) -> float:
    """Return P(X >= k) for X ~ Binomial(n, p), summed in logarithms."""
    if k <= 0:
        return 1.0
    if k > n or p <= 0.0:
        return 0.0
    if p >= 1.0:
        return 1.0
    log_p, log_q = math.log(p), math.log1p(-p)
    total = 0.0
    for i in range(k, n + 1):
        choose = math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1)
        total += math.exp(choose + i * log_p + (n - i) * log_q)
    return min(total, 1.0)


def _above(counts: Counts, baseline: float, weight: float) -> float:
    """Return the probability that the window's share is above the baseline's, by the normal form of two Beta laws."""
    a, b = counts.negative + 0.5, counts.stories - counts.negative + 0.5
    mean, variance = a / (a + b), a * b / ((a + b) ** 2 * (a + b + 1))
    other = baseline * (1 - baseline) / (weight + 1)
    z = (mean - baseline) / math.sqrt(variance + other)
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))
