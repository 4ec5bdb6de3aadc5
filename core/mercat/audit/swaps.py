"""Counterfactual texts: the same text about somebody else should get the same label.

Kusner et al. 2017, "Counterfactual Fairness"; Garg et al. 2019, "Counterfactual Fairness in Text Classification through
Robustness". A swap replaces a name, company or gendered word where it stands. A frame puts a sentence before the text
that says who asks, with two different words: so a set of texts without names can be tried as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mercat.audit.base import Score, sample, score_texts
from mercat.audit.calibration import share_of
from mercat.evaluation import Metric
from mercat.text import detect
from mercat.text.variants import word_lists as lists
from mercat.text.variants.exchanges import swapped_gender, swapped_words
from mercat.training.base import Progress
from mercat.training.progress import silent

SHOWN = 3
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Flip:
    """A pair of texts that should be answered alike and was not."""

    before: str
    after: str
    label_before: str
    label_after: str


@dataclass(frozen=True, slots=True)
class Swaps:
    """How often the label changes when only who is spoken of does.

    `kind` is "names", "gender" or "companies", `how` is "swapped" or "framed". `flips` is the share of the `rows` pairs
    whose label changed, with its Wilson interval (NaN without pairs); `shift` the mean change of the probability of the
    first text's label, without sign.
    """

    kind: str
    how: str
    rows: int
    flips: Metric
    shift: float
    examples: tuple[Flip, ...]


def counterfactuals(
    score: Score,
    labels: Sequence[str],
    texts: Sequence[str],
    *,
    size: int = 200,
    seed: int = 0,
    progress: Progress = silent,
) -> list[Swaps]:
    """Try every kind of swap and frame on up to `size` texts each."""
    makers: dict[tuple[str, str], Callable[[str, np.random.Generator], Pair | None]] = {}
    for kind in ("gender", "names", "companies"):
        makers[kind, "swapped"] = lambda text, rng, kind=kind: _swapped(text, kind, rng)  # type: ignore[misc]
        makers[kind, "framed"] = lambda text, rng, kind=kind: framed(text, kind, rng)  # type: ignore[misc]
    found = []
    for number, ((kind, how), make) in enumerate(makers.items()):
        rng = np.random.default_rng([seed, number])
        made = [pair for text in texts if (pair := make(text, rng)) is not None]
        found.append(compare(score, labels, sample(made, size, seed=seed), kind=kind, how=how))
        progress("swaps", number + 1, len(makers))
    return found


def compare(score: Score, labels: Sequence[str], pairs: Sequence[Pair], *, kind: str, how: str) -> Swaps:
    """Score both texts of every pair and count the labels that change."""
    if not pairs:
        return Swaps(kind, how, 0, share_of(0, 0), 0.0, ())
    before = score_texts(score, [a for a, _ in pairs])
    after = score_texts(score, [b for _, b in pairs])
    first, second = before.argmax(axis=1), after.argmax(axis=1)
    rows = np.arange(len(pairs))
    flipped = np.flatnonzero(first != second)
    shown = [Flip(pairs[row][0], pairs[row][1], labels[first[row]], labels[second[row]]) for row in flipped[:SHOWN]]
    shift = np.abs(after[rows, first] - before[rows, first]).mean()
    return Swaps(kind, how, len(pairs), share_of(len(flipped), len(pairs)), float(shift), tuple(shown))


def framed(text: str, kind: str, rng: np.random.Generator) -> Pair:
    """Return the text behind the same sentence about two different people or companies."""
    frame, words = (lists.FRAMES_ZH if detect(text) == "zh" else lists.FRAMES_EN)[kind]
    one, two = rng.choice(len(words), size=2, replace=False)
    return frame.format(words[one]) + text, frame.format(words[two]) + text


def _swapped(text: str, kind: str, rng: np.random.Generator) -> Pair | None:
    after = swapped_gender(text) if kind == "gender" else swapped_words(text, kind, rng)
    return (text, after) if after != text else None
