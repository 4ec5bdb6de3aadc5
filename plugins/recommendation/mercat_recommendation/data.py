"""Rows of the store as the columns that the rest works on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from mercat.errors import DataError
from mercat.store import Store
from mercat.values import Document, Interaction
from mercat_recommendation.catalogue import Catalogue
from mercat_recommendation.events import Log, build_log

_PAGE = 5_000


@dataclass(frozen=True, slots=True)
class Data:
    """A catalogue with its events. `rejected` counts the events left out by reason; `digest` names what was read."""

    catalogue: Catalogue
    log: Log
    rejected: Counter[str]
    digest: str


def read_data(store: Store, *, catalogue: str, events: str) -> Data:
    """Read both collections. Raises DataError when one is empty or no event fits the catalogue."""
    items = Catalogue.of(read_catalogue(store, catalogue))
    if not len(items):
        raise DataError(
            f"Items are read from the collection '{catalogue}'", "It holds no documents", "mercat ingest SOURCE"
        )
    rows = list(read_events(store, events))
    log, rejected = build_log(rows, items.numbers, born=items.born_by_id())
    if not len(log):
        found = ", ".join(f"{count} x {reason}" for reason, count in rejected.items()) or "It holds no interactions"
        raise DataError(f"Events are read from the collection '{events}'", found, "mercat ingest SOURCE")
    return Data(items, log, rejected, _digest(items, rows))


def read_catalogue(store: Store, collection: str) -> Iterator[Document]:
    """Yield the items."""
    for row in store.rows("documents", collection):
        if isinstance(row, Document):
            yield row


def read_events(store: Store, collection: str) -> Iterator[Interaction]:
    """Yield events in the order in which they arrived, which settles the order of equal times."""
    after = 0
    while changes := store.changes("interactions", collection, after=after, limit=_PAGE):
        for change in changes:
            after = change.sequence
            if isinstance(change.row, Interaction):
                yield change.row


def _digest(items: Catalogue, rows: list[Interaction]) -> str:
    found = hashlib.sha256()
    for text in items.texts():
        found.update(text.encode() + b"\0")
    for row in sorted(rows, key=lambda each: each.id):
        line = (row.id, row.user_id, row.item_id, row.kind, row.at.isoformat(), row.weight)
        found.update(repr(line).encode())
    return found.hexdigest()
