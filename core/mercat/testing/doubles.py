"""Small stand-ins that really do their job, for tests of what stands on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mercat.encoders.hashing import Hashing
from mercat.retrieval.base import Progress, Refreshed
from mercat.values import Hit


class FakeRetriever:
    """A retriever over texts with labels, held in memory and compared by hashed character n-grams."""

    def __init__(self, labelled: Mapping[str, str], *, collection: str = "examples") -> None:
        self.collection = collection
        self._texts, self._labels = list(labelled), list(labelled.values())
        self._encoder = Hashing()
        self._vectors = self._encoder.encode(self._texts)

    def search_many(
        self, texts: Sequence[str], *, k: int = 10, filters: Mapping[str, Any] | None = None
    ) -> list[list[Hit]]:
        """Return the nearest texts; `filters` may name a label."""
        wanted = (filters or {}).get("label")
        scores = self._encoder.encode(texts, role="query") @ self._vectors.T
        answers = []
        for row in scores:
            ranked = sorted(range(len(self._texts)), key=lambda number: -row[number])
            kept = [number for number in ranked if wanted in (None, self._labels[number])][:k]
            answers.append([Hit(str(n), float(row[n]), text=self._texts[n], label=self._labels[n]) for n in kept])
        return answers

    def search(self, text: str, *, k: int = 10, filters: Mapping[str, Any] | None = None) -> list[Hit]:
        """Return the nearest texts to one text; see `search_many`."""
        return self.search_many([text], k=k, filters=filters)[0]

    def refresh(self, *, progress: Progress | None = None) -> Refreshed:
        """Do nothing: its texts do not change."""
        return Refreshed(0, 0, 0)

    def rebuild(self, *, progress: Progress | None = None) -> Refreshed:
        """Do nothing, and count all texts as taken in."""
        return Refreshed(len(self._texts), 0, 0)
