"""The side of the store that who delivers messages uses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from mercat.store import outbox
from mercat.store.clock import Clock
from mercat.store.outbox import OutboxRow


class Queue(ABC):
    """Messages of the outbox: lease, deliver, fail, revive, look. A part of `Store`."""

    _clock: Clock

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Connection]: ...

    @abstractmethod
    def _writing(self) -> AbstractContextManager[Connection]: ...

    def lease(self, sinks: Sequence[str], *, limit: int, lease_s: float, now: datetime) -> list[OutboxRow]:
        """Take messages that are due; nobody else gets them for `lease_s` seconds."""
        with self._reading() as connection:
            if not outbox.any_due(connection, sinks, now=now):
                return []
        with self._writing() as connection:
            return outbox.lease(connection, sinks, limit=limit, lease_s=lease_s, now=now)

    def delivered(self, id: int, receipt: Mapping[str, Any]) -> bool:
        """Note that a message arrived."""
        with self._writing() as connection:
            return outbox.delivered(connection, id, receipt, now=self._clock())

    def failed(self, id: int, error: str, retry_at: datetime | None, *, attempt: int | None = None) -> bool:
        """Note that a message did not arrive: it is due again at `retry_at`, or dead for None.

        With `attempt` (of the leased row) nothing happens, and False is returned, when somebody else leased it since.
        """
        with self._writing() as connection:
            return outbox.failed(connection, id, error, retry_at, attempt=attempt, now=self._clock())

    def revive(self, ids: Sequence[int] | None = None) -> int:
        """Put dead messages back into the queue; all of them for None. Return how many."""
        with self._writing() as connection:
            return outbox.revive(connection, ids, now=self._clock())

    def outbox(self, state: str | None = None, *, limit: int = 1000) -> list[OutboxRow]:
        """Return messages, oldest first; `state` is waiting, delivered, dead or None for all."""
        with self._reading() as connection:
            return outbox.listed(connection, state, limit)
