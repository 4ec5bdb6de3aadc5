"""What an audit comes to, in sentences: the figures that a person looks at first, good or bad."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mercat.audit.run import Audit

Level = Literal["good", "warn", "bad", "info"]
_MANY_FLIPS, _SOME_FLIPS = 0.15, 0.05
_SURE = 0.05
_LEAST = 10  # a share of fewer texts says too little for the first screen


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure of the first screen: its section, how it is judged, its name, its value, and what it means."""

    section: str
    level: Level
    name: str
    value: str
    meaning: str


def findings(audit: Audit) -> list[Finding]:
    """Return the findings in the order of the report."""
    return [
        *_accuracy(audit),
        *_calibration(audit),
        *_fairness(audit),
        *_robustness(audit),
        *_explained(audit),
        *_doubts(audit),
    ]


def percent(share: float, digits: int = 1) -> str:
    """Return a share in percent, or "–" for none."""
    return "–" if share != share else f"{100 * share:.{digits}f} %"


def _accuracy(audit: Audit) -> Iterator[Finding]:
    found = audit.calibration
    span = f"95 % interval {percent(found.accuracy.low)} to {percent(found.accuracy.high)}, {found.accuracy.n:,} rows"
    yield Finding("calibration", "info", "Accuracy", percent(found.accuracy.value), span)


def _calibration(audit: Audit) -> Iterator[Finding]:
    found = audit.calibration
    within = found.ece.value <= found.ece_by_chance
    level: Level = "good" if within else "warn" if found.ece.value < 0.1 else "bad"
    bias = found.confidence - found.accuracy.value
    lean = "too sure of itself" if bias > 0 else "too modest"
    meaning = (
        f"confidence means what it says: chance alone may reach {percent(found.ece_by_chance)} here"
        if within
        else f"beyond chance ({percent(found.ece_by_chance)}): {lean}, by {percent(abs(bias))} on average"
    )
    yield Finding("calibration", level, "Calibration error", percent(found.ece.value), meaning)


def _fairness(audit: Audit) -> Iterator[Finding]:
    real = [each for each in audit.slices if each.best and each.by_chance < _SURE / max(len(audit.slices), 1)]
    widest = max(real or [each for each in audit.slices if each.best], key=lambda each: each.gap, default=None)
    if widest is None:
        yield Finding("fairness", "info", "Largest gap", "–", "no column with two slices large enough to compare")
    else:
        where = f"{widest.column}: {widest.best} against {widest.worst}"
        sure = "more than luck" if real else "no more than luck among as many slices"
        level: Level = ("bad" if widest.gap > 0.1 else "warn") if real else "good"
        yield Finding("fairness", level, "Largest gap", percent(widest.gap), f"{where}; {sure}")
    swapped = [each for each in audit.swaps if each.rows >= _LEAST]
    if swapped:
        worst = max(swapped, key=lambda each: each.flips.value)
        yield Finding(
            "fairness",
            _level(worst.flips.value),
            "Labels that depend on who asks",
            percent(worst.flips.value),
            f"{worst.kind}, {worst.how}: {round(worst.flips.value * worst.rows)} of {worst.rows} pairs",
        )


def _robustness(audit: Audit) -> Iterator[Finding]:
    kept = [each for each in audit.robustness if each.keeps_label and each.rows >= _LEAST]
    if not kept:
        return
    worst = max(kept, key=lambda each: (each.drop.value, each.flips.value))
    meaning = (
        f"{worst.way}: accuracy falls by {percent(worst.drop.value)}, {percent(worst.flips.value)} of labels change"
    )
    yield Finding("robustness", _level(worst.drop.value), "Most harmful change", percent(worst.drop.value), meaning)


def _explained(audit: Audit) -> Iterator[Finding]:
    found = audit.explained
    if found is None:
        return
    if found.over_random.low <= 0:
        meaning = "no method finds the words that matter better than a random order: trust none"
        yield Finding("explanations", "warn", "Explanation to trust", "none", meaning)
        return
    real = found.over_next.low > 0
    meaning = f"{'ahead of' if real else 'no surer than'} {found.next}, over {len(found.texts)} texts"
    yield Finding("explanations", "info", "Explanation to trust", found.trusted, meaning)


def _doubts(audit: Audit) -> Iterator[Finding]:
    doubted, shared = audit.suspects, audit.overlap
    share = doubted.count / max(doubted.rows, 1)
    meaning = f"labels doubted, of {doubted.rows:,}; about {percent(doubted.noise)} may be wrong"
    yield Finding("labels", "warn" if share > _SURE else "good", "Suspect labels", f"{doubted.count:,}", meaning)
    if not shared.learned:
        meaning = "the rows it learned from are not in the store"
        yield Finding("leaks", "info", "Leaks from training", "not checked", meaning)
        return
    level: Level = "good" if not shared.leaking else "warn" if shared.leaking <= _SURE * shared.rows else "bad"
    meaning = f"rows of {shared.rows:,}, at most, whose text training has, or nearly has"
    yield Finding("leaks", level, "Leaks from training", f"{shared.leaking:,}", meaning)


def _level(share: float) -> Level:
    return "bad" if share > _MANY_FLIPS else "warn" if share > _SOME_FLIPS else "good"
