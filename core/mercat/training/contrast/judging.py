"""How an encoder is judged: by what it finds, or by how well cosines of pairs follow what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from mercat.encoders.base import Encoder
from mercat.evaluation.base import Metric
from mercat.evaluation.metrics import auroc, auroc_difference
from mercat.evaluation.numbers import regression, regression_differences
from mercat.training.compare import defined
from mercat.training.contrast.before import PerQuery
from mercat.training.contrast.material import Material, Text, encoded_by
from mercat.training.contrast.scored import Figure, ScoredPairs
from mercat.training.contrast.search import Search, figures_per_query


class Judge(Protocol):
    """The rows that encoders are judged on."""

    @property
    def like(self) -> Sequence[str]:
        """Texts in the role of queries, to see whether a saved encoder encodes as the one that learned."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """How many rows there are."""
        ...

    def judged(self, encoder: Encoder) -> Any:
        """Return how good an encoder is, `Judged`: the same kind for all encoders."""
        ...


@dataclass(frozen=True, slots=True)
class BySearch:
    """Judges by where a query finds the first text of its group."""

    search: Search[Text]

    @property
    def like(self) -> Sequence[str]:
        """The queries that are encoded in that role."""
        return [text for role, text in self.search.queries if role == "query"]

    @property
    def counts(self) -> Mapping[str, int]:
        """How many texts are searched with, and among how many."""
        return {"queries": len(self.search.queries), "candidates": len(self.search.candidates)}

    def judged(self, encoder: Encoder) -> PerQuery:
        """Return recall and reciprocal rank of each query."""
        queries, found = (encoded_by(encoder, texts) for texts in (self.search.queries, self.search.candidates))
        return PerQuery(figures_per_query(self.search.ranks(queries, found)))


@dataclass(frozen=True, slots=True)
class Followed:
    """Cosines of pairs beside what is said of the pairs, both of shape (pairs,)."""

    targets: NDArray[np.float32]
    cosines: NDArray[np.float32]
    figure: Figure

    def metrics(self) -> dict[str, Metric]:
        """Return Spearman's correlation, or how often a positive pair is nearer than a negative one."""
        if self.figure == "auroc":
            return defined({"auroc": auroc(self.targets > 0, self.cosines)})
        return defined({"spearman": regression(self.targets, self.cosines)["spearman"]})

    def minus(self, other: Self) -> dict[str, Metric]:
        """Return the difference of that figure."""
        if self.figure == "auroc":
            return defined({"auroc": auroc_difference(self.targets > 0, self.cosines, other.cosines)})
        found = regression_differences(self.targets, self.cosines, other.cosines)
        return defined({"spearman": found["spearman"]})


@dataclass(frozen=True, slots=True)
class ByCosine:
    """Judges by the cosines of pairs; `targets`, shape (pairs,), are what is said of them."""

    pairs: Sequence[tuple[Text, Text]]
    targets: NDArray[np.float32]
    figure: Figure

    @property
    def like(self) -> Sequence[str]:
        """The first texts of the pairs."""
        return [first[1] for first, _ in self.pairs]

    @property
    def counts(self) -> Mapping[str, int]:
        """How many pairs there are."""
        return {"pairs": len(self.pairs)}

    def judged(self, encoder: Encoder) -> Followed:
        """Return the cosine of each pair."""
        first, second = (encoded_by(encoder, [pair[side] for pair in self.pairs]) for side in (0, 1))
        return Followed(self.targets, np.asarray((first * second).sum(axis=1), np.float32), self.figure)


def judge_of(material: Material | ScoredPairs, part: str) -> Judge:
    """Return what encoders are judged on of a part."""
    if isinstance(material, Material):
        return BySearch(material.search(part))
    return ByCosine(material.pairs[part], material.targets[part], material.figure)
