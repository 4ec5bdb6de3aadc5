"""What a source and a sink are: the road in and the road out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from mercat.values import Row


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that was not taken: where it stood and why."""

    where: str  # "tickets.csv:17"
    reason: str  # a short name that can be counted: "no text", "bad date"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a source and the cursor to save with them.

    A cursor is opaque to everybody but its source; reading again from it must yield the rows after this batch.
    """

    rows: Sequence[Row]
    cursor: str
    rejected: Sequence[Rejection] = ()
    total: int | None = None  # rows in the whole source where that is known, for progress


@runtime_checkable
class Source(Protocol):
    """Where rows come from."""

    def read(self, cursor: str | None) -> Iterator[Batch]:
        """Yield batches after `cursor` (None: from the beginning), at most a few thousand rows each."""
        ...


@dataclass(frozen=True, slots=True)
class Message:
    """Something to deliver. `key` is the idempotency key: the same key must never have two effects."""

    id: int
    key: str
    kind: str  # "ticket", "alert", ...
    payload: Mapping[str, Any]
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Receipt:
    """The receiver's word that a message arrived."""

    external_id: str = ""
    url: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Sink(Protocol):
    """Where messages go. Called by `flow` only; raises ConnectError when the message did not arrive."""

    def send(self, message: Message) -> Receipt:
        """Deliver one message and return what the other side gave back. Raises ConnectError when it did not arrive."""
        ...
