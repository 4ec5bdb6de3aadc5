"""What a retriever is: a question in, ranked hits out. Joins encoder, index and store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mercat.values import Hit

Progress = Callable[[int, int], None]  # (done, total) rows


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh did."""

    upserted: int
    deleted: int
    sequence: int


@runtime_checkable
class Retriever(Protocol):
    """Finds rows of one collection of the store.

    `filters` maps a metadata column (or `label`, `locale`, `source`) to the value, or list of values, a hit must have,
    or to operators: {"price": {"from": 10, "below": 20}}; `mercat.retrieval.conditions` has them all. Others are a
    DataError.
    """

    collection: str

    def search_many(
        self, texts: Sequence[str], *, k: int = 10, filters: Mapping[str, Any] | None = None
    ) -> list[list[Hit]]:
        """Return one list of at most `k` hits per text, best first."""
        ...

    def search(self, text: str, *, k: int = 10, filters: Mapping[str, Any] | None = None) -> list[Hit]:
        """`search_many` of one text."""
        ...

    def refresh(self, *, progress: Progress | None = None) -> Refreshed:
        """Take in what changed in the store since the last refresh; encode only that. Durable before it returns."""
        ...

    def rebuild(self, *, progress: Progress | None = None) -> Refreshed:
        """Throw the derived index away and build it from the store."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """Reads a question and a text together, and says how well the one answers the other."""

    def rerank(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return shape (len(texts),): higher is better; comparable for one query only."""
        ...
