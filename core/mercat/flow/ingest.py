"""From a source into the store: transformed, checked, counted, and every batch together with its cursor."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Sequence

from mercat.connect.base import Batch, Rejection, Source
from mercat.errors import DataError, StoreError
from mercat.flow.account import Account, Tally
from mercat.flow.transforms import Transform
from mercat.store import Store, Transaction, problem_of
from mercat.training.base import Progress
from mercat.values import Interaction, Row

MAX_CHARS = 1_000_000
"""The longest text that is taken: about 150,000 words."""


def silent(stage: str, done: int, total: int, **figures: float) -> None:
    """A `Progress` that says nothing."""


def cursor_name(source: str) -> str:
    """Return the name under which a source's cursor is kept."""
    return f"source:{source}"


def ingest(
    source: Source,
    store: Store,
    *,
    name: str,
    collection: str,
    transforms: Sequence[Transform] = (),
    progress: Progress = silent,
    max_chars: int = MAX_CHARS,
    restart: bool = False,
) -> Account:
    """Read everything after the source's cursor and store it; `restart` reads from the beginning.

    Each batch and its cursor are one transaction, opened after the batch was read: a slow source holds nobody up, and
    a kill at any moment loses and doubles nothing. Raises StoreError when another run moves the same cursor meanwhile,
    and whatever the source raises; batches before it stay.
    """
    return Ingest(store, name=name, collection=collection, transforms=transforms, max_chars=max_chars).run(
        source, progress=progress, restart=restart
    )


class Ingest:
    """One run. `tally` counts what is on the disk so far, also when the source breaks off."""

    def __init__(
        self, store: Store, *, name: str, collection: str, transforms: Sequence[Transform], max_chars: int
    ) -> None:
        self.store, self.name, self.collection = store, name, collection
        self._transforms, self._max_chars = transforms, max_chars
        self.tally = Tally()
        self._seen: set[int] = set()

    def run(self, source: Source, *, progress: Progress, restart: bool) -> Account:
        """Take batch after batch."""
        cursor = self.store.cursor(cursor_name(self.name))
        done = 0
        for batch in source.read(None if restart else cursor):
            self._take(batch, cursor)
            cursor = batch.cursor
            done += len(batch.rows) + len(batch.rejected)
            progress(f"read {self.name}", done, batch.total or 0)
        if done:  # what an earlier run has read counts in the source's total and is not read again
            progress(f"read {self.name}", done, done)
        return self.tally.account(self.name, self.collection, cursor)

    def _take(self, batch: Batch, expected: str | None) -> None:
        tally = Tally()
        for rejection in batch.rejected:
            tally.reject(rejection)
        rows = list(self._fit(batch.rows, tally))
        try:
            self._write(rows, batch.cursor, expected, counted := copy.deepcopy(tally))
        except DataError:  # a row among them cannot be stored: find it, and take the others
            rows = list(_storable(rows, tally, self.name))
            self._write(rows, batch.cursor, expected, counted := tally)
        self._count_repeated(rows, counted)
        self.tally.add(counted)

    def _fit(self, rows: Sequence[Row], tally: Tally) -> Iterator[Row]:
        """Yield the rows that pass the transforms and the limits."""
        for row in rows:
            found = self._transformed(row, tally)
            if found is not None and (reason := self._objection(found)):
                tally.reject(Rejection(_where(self.name, row), reason))
            elif found is not None:
                yield found

    def _transformed(self, row: Row, tally: Tally) -> Row | None:
        found: Row | None = row
        for transform in self._transforms:
            label = getattr(transform, "name", "") or getattr(transform, "__name__", type(transform).__name__)
            try:
                found = transform(found)  # type: ignore[arg-type]
            except Exception as error:  # fail closed: what was not redacted is not stored
                tally.reject(Rejection(_where(self.name, row), f"{label} failed", repr(error)))
                return None
            if found is None:
                tally.dropped[f"by {label}"] += 1
                return None
        return found

    def _objection(self, row: Row) -> str:
        if isinstance(row, Interaction):
            return "" if row.user_id and row.item_id else "no user or item"
        if not isinstance(row.text, str) or not row.text.strip():
            return "no text"
        return "text too long" if len(row.text) > self._max_chars else ""

    def _write(self, rows: Sequence[Row], cursor: str, expected: str | None, tally: Tally) -> None:
        with self.store.transaction() as tx:
            if tx.cursor(cursor_name(self.name)) != expected:
                raise StoreError(
                    f"Source '{self.name}' was not read on", "Another run has moved its cursor", "wait for that one"
                )
            for of_one_type in _by_type(_living(rows, tx, tally)):
                upserted = tx.upsert(of_one_type, collection=self.collection, source=self.name)
                tally.stored += len(upserted.changed)
                tally.duplicate += upserted.unchanged + upserted.repeated
            tx.save_cursor(cursor_name(self.name), cursor)

    def _count_repeated(self, rows: Sequence[Row], tally: Tally) -> None:
        for row in rows:
            key = hash((type(row).__name__, row.id))
            tally.repeated += key in self._seen
            self._seen.add(key)


def _living(rows: Sequence[Row], tx: Transaction, tally: Tally) -> Iterator[Row]:
    """Yield the rows of people who were not erased, as seen by the transaction that stores them."""
    erased = tx.erased_among({_person(row) for row in rows})
    for row in rows:
        if _person(row) in erased:
            tally.dropped["person was erased"] += 1
        else:
            yield row


def _person(row: Row) -> str:
    return row.user_id if isinstance(row, Interaction) else getattr(row, "subject", "")


def _by_type(rows: Iterator[Row]) -> Iterator[Sequence[Row]]:
    groups: defaultdict[type, list[Row]] = defaultdict(list)
    for row in rows:
        groups[type(row)].append(row)
    yield from groups.values()


def _storable(rows: Sequence[Row], tally: Tally, source: str) -> Iterator[Row]:
    for row in rows:
        if problem := problem_of(row):
            tally.reject(Rejection(_where(source, row), "cannot be stored", problem))
        else:
            yield row


def _where(source: str, row: Row) -> str:
    return f"{source}:{row.id}"
