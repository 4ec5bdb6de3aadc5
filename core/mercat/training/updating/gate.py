"""Whether a new version may take the place of the old one: both asked about the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mercat.evaluation.base import Metric
from mercat.evaluation.metrics import accuracy, macro_f1
from mercat.training.classifying.classifier import Scorer, labels_of, texts_of
from mercat.training.compare import differences
from mercat.values import Example


@dataclass(frozen=True, slots=True)
class Found:
    """Which share of a label's `rows` the old version finds, and the new one."""

    label: str
    before: float
    now: float
    rows: int


@dataclass(frozen=True, slots=True)
class Compared:
    """Two versions on the same rows: figures before and now, by name, and now minus before, paired; and each label."""

    rows: int
    before: Mapping[str, Metric]
    now: Mapping[str, Metric]
    differences: Mapping[str, Metric]
    labels: tuple[Found, ...]

    def __str__(self) -> str:
        one, two, change = (each["accuracy"] for each in (self.before, self.now, self.differences))
        span = f"[{change.low:+.4f}, {change.high:+.4f}]"
        return f"accuracy {one.value:.4f} before, {two.value:.4f} now, {change.value:+.4f} {span} on {self.rows:,} rows"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a version finds of the regression rows: its accuracy, and the share of each label's rows."""

    accuracy: float
    labels: Mapping[str, float]


def best_of(versions: Iterable[Standing]) -> Standing:
    """Return the best accuracy that one of the versions has, and of each label the best share."""
    each = list(versions)
    labels = sorted({label for one in each for label in one.labels})
    shares = {label: max(one.labels[label] for one in each if label in one.labels) for label in labels}
    return Standing(max(one.accuracy for one in each), shares)


def holders(versions: Mapping[str, Standing]) -> dict[str, Standing]:
    """Return the versions that are the best in something: what the others find can be no bar."""
    best = best_of(versions.values())
    kept = [next(name for name, one in versions.items() if one.accuracy == best.accuracy)]
    kept += [
        next(name for name, one in versions.items() if one.labels.get(label) == share)
        for label, share in best.labels.items()
    ]
    return {name: one for name, one in versions.items() if name in kept}


@dataclass(frozen=True, slots=True)
class Gate:
    """What a new version must keep, in shares: of all regression rows, and of the regression rows of each label."""

    max_drop: float
    max_label_drop: float

    def reasons(self, found: Compared, *, best: Standing, lost: Sequence[str]) -> list[str]:
        """Return why a version must not be promoted; empty when nothing speaks against it.

        `best` is the most that promoted versions found of these rows, and of those of each label; `lost` has the labels
        that this one cannot give any more. One row is never a fall of its label: of six rows it would be 17 points.
        """
        now, bar = found.now["accuracy"].value, best.accuracy
        said = []
        if now < bar - self.max_drop - 1e-9:
            change = found.differences["accuracy"]
            said.append(
                f"Accuracy on the regression set is {now:.4f}, {bar - now:.4f} below the best version's {bar:.4f}; "
                f"{self.max_drop:g} is allowed (against the last version {change.value:+.4f}, 95 % interval "
                f"{change.low:+.4f} to {change.high:+.4f})"
            )
        for each in found.labels:
            most = best.labels.get(each.label, each.before)
            if most - each.now > self.max_label_drop + 1e-9 and round((most - each.now) * each.rows) > 1:
                last = f", the last version {each.before:.2f}" if each.before < most else ""
                said.append(
                    f"Of '{each.label}' it finds {each.now:.2f}, the best version {most:.2f}{last} ({each.rows} rows); "
                    f"{self.max_label_drop:g} less is allowed"
                )
        if lost:
            said.append(f"It no longer knows {', '.join(lost[:10])}: no row of theirs is left to learn from")
        return said


def compared(rows: Sequence[Example], old: Scorer, new: Scorer, *, seed: int = 0) -> Compared:
    """Ask both versions about the same rows, of which there is at least one."""
    true = labels_of(rows)
    before, now = (_answers(scorer, texts_of(rows)) for scorer in (old, new))
    return Compared(
        rows=len(rows),
        before=_figures(true, before),
        now=_figures(true, now),
        differences=differences(true, now, before, seed=seed),
        labels=tuple(_found(true, before, now)),
    )


def _figures(true: Sequence[str], predicted: Sequence[str]) -> dict[str, Metric]:
    return {"accuracy": accuracy(true, predicted), "macro_f1": macro_f1(true, predicted)}


def _answers(scorer: Scorer, texts: Sequence[str]) -> list[str]:
    return [scorer.labels[number] for number in scorer.scores(texts).argmax(axis=1)]


def _found(true: Sequence[str], before: Sequence[str], now: Sequence[str]) -> list[Found]:
    found = []
    for label in sorted(set(true)):
        places = [at for at, each in enumerate(true) if each == label]
        one, two = (_share(answers, places, label) for answers in (before, now))
        found.append(Found(label, one, two, len(places)))
    return found


def _share(answers: Sequence[str], places: Sequence[int], label: str) -> float:
    right: NDArray[np.bool_] = np.array([answers[at] == label for at in places])
    return float(right.mean())
