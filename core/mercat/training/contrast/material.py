"""What belongs together: from pairs of texts, or from labelled rows, to numbered texts and their groups."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mercat.encoders.base import Encoder, Role, Vectors
from mercat.errors import DataError
from mercat.evaluation.splits import PARTS
from mercat.store import Store
from mercat.training.contrast.search import Search
from mercat.training.data import Parts, Split, part_examples, read_examples, single_texts, without_single_labels
from mercat.values import Example

Text = tuple[Role, str]
QUERIES, CANDIDATES = 1_000, 2_000
"""How many texts are searched with, and among how many."""


@dataclass(frozen=True, slots=True)
class Material:
    """Different texts with the number of each one's group, shape (texts,).

    `asked` and `answers` have, for each part, the numbers of its texts to search with and of those to be found. In
    labelled rows they are the same ones.
    """

    texts: Sequence[Text]
    groups: NDArray[np.int64]
    asked: dict[str, NDArray[np.int64]]
    answers: dict[str, NDArray[np.int64]]

    def search(self, part: str) -> Search[Text]:
        """Return a search with texts of a part, among its answers where it has its own, and those of the train part.

        What answers one of the texts comes first: where not all are candidates, every text still has its answer.
        """
        asked = self._some(self.asked[part], QUERIES)
        own = self.answers[part] if self._two_sided else asked[:0]
        own = own[np.isin(self.groups[own], self.groups[asked])]
        found = self._some(np.union1d(own, self.answers["train"]), CANDIDATES, first=own)
        texts = [[self.texts[number] for number in numbers] for numbers in (asked, found)]
        return Search(texts[0], self.groups[asked], texts[1], self.groups[found])

    @property
    def _two_sided(self) -> bool:
        return bool(len(np.setdiff1d(self.answers["train"], self.asked["train"])))

    def _some(
        self, numbers: NDArray[np.int64], most: int, *, first: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Return at most so many, the same ones each time, those of `first` before all others."""
        early = set() if first is None else set(first.tolist())
        order = sorted(numbers.tolist(), key=lambda number: (number not in early, self._chance(number)))
        return np.array(order[:most], dtype=np.int64)

    def _chance(self, number: int) -> bytes:
        return hashlib.blake2b(self.texts[number][1].encode("utf-8", "replace"), digest_size=8).digest()


def encoded_by(encoder: Encoder, texts: Sequence[Text]) -> Vectors:
    """Return the vector of each text in its role. The shape is (texts, dimensions)."""
    found = np.zeros((len(texts), encoder.dimensions), dtype=np.float32)
    roles: tuple[Role, Role] = ("query", "document")
    for role in roles:
        rows = [row for row, text in enumerate(texts) if text[0] == role]
        if rows:
            found[rows] = encoder.encode([texts[row][1] for row in rows], role=role)
    return found


def read_parts_for_contrast(
    store: Store,
    collection: str,
    *,
    positive_label: str,
    validation_share: float,
    test_share: float,
    split: Split,
) -> Parts:
    """Read pairs of texts, or labelled rows, in parts.

    Of pairs with labels only those of `positive_label` count, if it is given. Raises DataError for a collection that is
    empty or holds both kinds.
    """
    rows = read_examples(store, collection)
    part = partial(
        part_examples, collection=collection, validation_share=validation_share, test_share=test_share, split=split
    )
    pairs = [row for row in rows if row.text_pair.strip()]
    if not pairs:
        kept, notes = without_single_labels(single_texts(rows, collection))
        return part(kept, labels_of=lambda row: (row.label,), by_label=True, notes=notes)
    asked = f"Contrast learns from pairs of texts or from labelled rows, in the collection '{collection}'"
    if len(pairs) < len(rows):
        found = f"{len(pairs)} rows are pairs and {len(rows) - len(pairs)} are not"
        raise DataError(asked, found, "a collection for each")
    kept = [row for row in pairs if row.text.strip() and positive_label in ("", row.label)]
    if not kept:
        raise DataError(asked, f"No pair has the label '{positive_label}'", "positive_label = another one")
    return part(kept, labels_of=lambda row: (), by_label=False, least=0)


def material_of(parts: Parts, collection: str) -> Material:
    """Return the texts of all parts in their groups. Raises DataError where there is nothing to tell apart."""
    rows: dict[str, list[Example]] = {name: list(getattr(parts, name)) for name in PARTS}
    found = _of_pairs(rows) if any(row.text_pair for row in rows["train"]) else _of_labels(rows)
    together = len(np.unique(found.groups[found.asked["train"]]))
    if together < 2:
        raise DataError(
            f"Contrast needs texts that belong together and others that do not, in '{collection}'",
            f"All rows of its train part hang together in {together} group(s)",
            "more rows, or labels",
        )
    return found


def _of_labels(rows: dict[str, list[Example]]) -> Material:
    numbers: dict[tuple[str, str], int] = {}
    labels: dict[str, int] = {}
    asked = {
        name: np.unique([numbers.setdefault((row.label, row.text), len(numbers)) for row in each] or np.zeros(0, int))
        for name, each in rows.items()
    }
    groups = [labels.setdefault(label, len(labels)) for label, _ in numbers]
    return Material([("query", text) for _, text in numbers], np.array(groups, dtype=np.int64), asked, asked)


def _of_pairs(rows: dict[str, list[Example]]) -> Material:
    """Texts that a chain of pairs links are one group: a question with two answers, an answer to two questions."""
    numbers: dict[Text, int] = {}
    parent: list[int] = []

    def number(role: Role, text: str) -> int:
        if (role, text) not in numbers:
            numbers[role, text] = len(parent)
            parent.append(len(parent))
        return numbers[role, text]

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    asked, answers = {}, {}
    for name, each in rows.items():
        pairs = [(number("query", row.text), number("document", row.text_pair)) for row in each]
        for left, right in pairs:
            parent[root(left)] = root(right)
        both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        asked[name], answers[name] = np.unique(both[:, 0]), np.unique(both[:, 1])
    groups = np.array([root(place) for place in range(len(parent))], dtype=np.int64)
    return Material(list(numbers), groups, asked, answers)
