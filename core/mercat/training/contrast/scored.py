"""Pairs of texts of which something is said: a number, how alike they are, or whether they belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.evaluation.metrics import auroc
from mercat.evaluation.numbers import spearman
from mercat.evaluation.splits import PARTS
from mercat.store import Store
from mercat.training.contrast.embedder import Embedder, Ids
from mercat.training.contrast.losses import Computed, needs_of, require_rows
from mercat.training.contrast.material import Text
from mercat.training.data import Parts, Split, part_examples, read_examples, without_single_labels
from mercat.training.loop.objective import Step
from mercat.training.numbers import numbers_of, require_spread
from mercat.training.pairing.task import positive_of
from mercat.values import Example

Figure = Literal["spearman", "auroc"]
Numbers = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """The pairs of each part, with what is said of each one as a number, of shape (pairs of the part,).

    `figure` tells how well cosines follow those numbers.
    """

    pairs: Mapping[str, Sequence[tuple[Text, Text]]]
    targets: Mapping[str, Numbers]
    figure: Figure

    @property
    def texts(self) -> set[Text]:
        """The different texts of all parts."""
        return {text for pairs in self.pairs.values() for pair in pairs for text in pair}


@dataclass(frozen=True, slots=True)
class Side:
    """The pairs of a part as token ids, with their numbers, of shape (pairs,)."""

    first: Sequence[Ids]
    second: Sequence[Ids]
    targets: Numbers


class Scored:
    """The cosine of a pair is to follow its number, by the loss that `computed` gives of a batch of pairs.

    Validates by "loss", of all pairs together, and by `figure`. `divisible` says whether the loss is a mean over pairs.
    """

    def __init__(self, train: Side, validation: Side, *, computed: Computed, figure: Figure, divisible: bool) -> None:
        self.train, self.validation, self.divisible = train, validation, divisible
        self._computed, self._figure = computed, figure

    @property
    def lengths(self) -> Sequence[int]:
        """The same for all rows: pairs that are compared are of all lengths."""
        return [1] * len(self.train.targets)

    def step(self, model: torch.nn.Module, rows: NDArray[np.int64]) -> Step:
        """Return the loss over these pairs."""
        assert isinstance(model, Embedder)
        vectors = model([side[row] for side in (self.train.first, self.train.second) for row in rows])
        targets = torch.from_numpy(self.train.targets[rows]).to(vectors.device)
        return Step(self._computed([vectors[: len(rows)], vectors[len(rows) :]], targets))

    def validate(self, model: torch.nn.Module) -> Mapping[str, float]:
        """Return how well the cosines of the validation pairs follow their numbers."""
        assert isinstance(model, Embedder)
        first, second = (model.arrays(side) for side in (self.validation.first, self.validation.second))
        targets = self.validation.targets
        loss = self._computed([torch.from_numpy(first), torch.from_numpy(second)], torch.from_numpy(targets))
        return {"loss": float(loss), self._figure: _followed(targets, (first * second).sum(axis=1), self._figure)}


def read_scored_parts(
    store: Store,
    collection: str,
    *,
    loss: str,
    validation_share: float,
    test_share: float,
    split: Split,
) -> Parts:
    """Read the pairs of a collection in parts, those without a label left out.

    Raises DataError for rows that the loss cannot learn from.
    """
    read = read_examples(store, collection)
    require_rows(loss, read, collection)
    rows, labelled = [row for row in read if row.text.strip() and row.label], needs_of(loss) == "answers"
    notes = [f"{left} pairs without a label were left out"] if (left := len(read) - len(rows)) else []
    if labelled:
        rows, single = without_single_labels(rows)
        notes += single
    parts = part_examples(
        rows,
        collection,
        labels_of=lambda row: (row.label,) if labelled else (),
        by_label=labelled,
        validation_share=validation_share,
        test_share=test_share,
        split=split,
        least=2 if labelled else 0,
        notes=notes,
    )
    if loss != "cosine" or (span := _span(numbers_of(parts.train))) == (0.0, 1.0):
        return parts
    note = f"Labels from {span[0]:g} to {span[1]:g} are learned as cosines from 0 to 1"
    return replace(parts, notes=(*parts.notes, note))


def scored_pairs_of(parts: Parts, collection: str, *, loss: str, positive_label: str) -> ScoredPairs:
    """Return the pairs of all parts with their numbers.

    Labels become 1 for `positive_label` and 0 for all others; without one a usual word for yes counts, or of two the
    last. Numbers stay as they are; where cosines shall equal them and they are none, the train part's smallest becomes
    0 and its largest 1. Raises DataError for labels that are no numbers or all the same, ConfigError for a positive
    label that is not there.
    """
    rows: dict[str, Sequence[Example]] = {name: getattr(parts, name) for name in PARTS}
    pairs: dict[str, Sequence[tuple[Text, Text]]] = {
        name: [(("query", row.text), ("document", row.text_pair)) for row in each] for name, each in rows.items()
    }
    if needs_of(loss) == "answers":
        positive = positive_of(parts.labels, positive_label, key="positive_label")
        answers = {name: np.array([row.label == positive for row in each], np.float32) for name, each in rows.items()}
        return ScoredPairs(pairs, answers, "auroc")
    numbers = {name: numbers_of(each) for name, each in rows.items()}
    require_spread(numbers["train"], collection)
    low, high = _span(numbers["train"]) if loss == "cosine" else (0.0, 1.0)
    targets = {name: np.asarray((each - low) / (high - low), np.float32) for name, each in numbers.items()}
    return ScoredPairs(pairs, targets, "spearman")


def _span(numbers: Numbers) -> tuple[float, float]:
    """Return what becomes 0 and what becomes 1: themselves where all numbers could be cosines."""
    low, high = float(numbers.min()), float(numbers.max())
    return (0.0, 1.0) if low >= -1 and high <= 1 else (low, high)


def _followed(targets: Numbers, cosines: Numbers, figure: Figure) -> float:
    """Return the figure; where all targets are the same, what guessing would give."""
    if figure == "spearman":
        return spearman(targets, cosines)
    return float(np.nan_to_num(auroc(targets > 0, cosines, n=1).value, nan=0.5))
