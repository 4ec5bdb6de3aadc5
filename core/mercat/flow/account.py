"""Where every row of an import ended: exactly one state each, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from mercat.connect.base import Rejection

KEPT_REJECTIONS = 100


@dataclass(frozen=True, slots=True)
class Account:
    """The account of one run: `sent` = stored + duplicate + rejected + dropped, exactly.

    `duplicate` rows were in the store already, unchanged, or were replaced by a later row of the same batch. `repeated`
    says how many rows had the id of an earlier row of this run, whatever their state. `rejections` are the first 100.
    """

    source: str
    collection: str
    stored: int = 0
    duplicate: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    repeated: int = 0
    rejections: tuple[Rejection, ...] = ()
    cursor: str | None = None

    @property
    def sent(self) -> int:
        """How many rows the source sent."""
        return self.stored + self.duplicate + sum(self.rejected.values()) + sum(self.dropped.values())

    def __str__(self) -> str:
        why = [f"{count} {reason}" for reason, count in (*self.rejected.items(), *self.dropped.items())]
        counts = f"{self.stored} stored, {self.duplicate} duplicate, {sum(self.rejected.values())} rejected"
        counts += f", {sum(self.dropped.values())} dropped"
        return f"{self.source}: {self.sent} rows: {counts}" + (f" ({', '.join(why)})" if why else "")


class Tally:
    """Counts the rows of one batch. It is added to the run's tally once the batch is on the disk."""

    def __init__(self) -> None:
        self.stored = self.duplicate = self.repeated = 0
        self.rejected: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.rejections: list[Rejection] = []

    def reject(self, rejection: Rejection) -> None:
        """Count a row that cannot be taken."""
        self.rejected[rejection.reason] += 1
        if len(self.rejections) < KEPT_REJECTIONS:
            self.rejections.append(rejection)

    def add(self, other: Tally) -> None:
        """Add another tally to this one."""
        self.stored += other.stored
        self.duplicate += other.duplicate
        self.repeated += other.repeated
        self.rejected.update(other.rejected)
        self.dropped.update(other.dropped)
        self.rejections = (self.rejections + other.rejections)[:KEPT_REJECTIONS]

    def account(self, source: str, collection: str, cursor: str | None) -> Account:
        """Return the finished account."""
        return Account(
            source,
            collection,
            self.stored,
            self.duplicate,
            dict(self.rejected),
            dict(self.dropped),
            self.repeated,
            tuple(self.rejections),
            cursor,
        )
