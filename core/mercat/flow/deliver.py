"""Out of the outbox to the sinks: at least once, in order where asked, patient, and never silently dropped."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from mercat.connect.base import Message, Sink
from mercat.connect.response import RequestFailed
from mercat.errors import AddressRefused, ConnectError
from mercat.store import OutboxRow, Store, plain

_HOPELESS = (400, 404, 405, 410, 413, 414, 415, 422)  # answers that the same message will get again
log = logging.getLogger("mercat.flow")


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long a message is tried: exponential back-off, with jitter so that not all come at once.

    The n-th wait is `first_wait_s` * 2^(n-1), at most `longest_wait_s`, times a factor in [0.5, 1] that depends only on
    `seed`, the message's key and n. With the defaults a message is tried for about three days.
    """

    attempts: int = 18
    first_wait_s: float = 5.0
    longest_wait_s: float = 6 * 3600.0
    seed: int = 0

    def wait_s(self, key: str, attempt: int) -> float:
        """Return the seconds to wait after an attempt (1, 2, …) that failed."""
        full = min(self.first_wait_s * 2.0 ** (attempt - 1), self.longest_wait_s)
        return full * (0.5 + 0.5 * random.Random(f"{self.seed}:{key}:{attempt}").random())


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a delivery did: messages that arrived, that wait for another try, that died."""

    arrived: int = 0
    waiting: int = 0
    dead: int = 0

    def __add__(self, other: Delivered) -> Delivered:
        return Delivered(self.arrived + other.arrived, self.waiting + other.waiting, self.dead + other.dead)


def deliver(
    store: Store,
    sinks: Mapping[str, Sink],
    *,
    clock: Callable[[], datetime],
    once: bool = True,
    patience: Patience = Patience(),
    limit: int = 10,
    lease_s: float = 300.0,
    poll_s: float = 1.0,
    stop: threading.Event | None = None,
) -> Delivered:
    """Send what is due. With `once` return when nothing is due; otherwise go on until `stop` is set.

    A kill between a message's arrival and its receipt sends that one message again, after its lease has ended: a sink
    that heeds `Message.key` makes that exactly once. Several may deliver at once. ConnectError is tried again until
    patience ends; any other error, and an HTTP answer such as 422, buries the message with its cause.
    """
    stop, total = stop or threading.Event(), Delivered()
    names = list(sinks)
    while not stop.is_set():
        rows = store.lease(names, limit=limit, lease_s=lease_s, now=clock())
        for row in rows:
            if stop.is_set() or not _still_ours(row, clock(), lease_s):
                break  # the lease runs out; whoever takes it next sends it
            total += _send(store, sinks[row.sink], row, clock=clock, patience=patience)
        if not rows:
            if once:
                break
            stop.wait(poll_s)
    return total


def _still_ours(row: OutboxRow, now: datetime, lease_s: float) -> bool:
    """Return whether at least half of the lease is left: time enough to send and to note it."""
    return row.leased_until is not None and now + timedelta(seconds=lease_s / 2) <= row.leased_until


def _send(store: Store, sink: Sink, row: OutboxRow, *, clock: Callable[[], datetime], patience: Patience) -> Delivered:
    if row.attempt > patience.attempts:
        return _bury(store, row, f"The sender died {patience.attempts} times while it was sending this")
    try:
        receipt = sink.send(Message(row.id, row.key, row.kind, row.payload, row.attempt))
    except ConnectError as error:
        return _again_later(store, row, error, now=clock(), patience=patience)
    except Exception as error:  # a mistake in the message or the sink: trying again would make it again
        return _bury(store, row, f"{type(error).__name__}: {error}")
    store.delivered(row.id, plain(receipt))
    return Delivered(arrived=1)


def _again_later(store: Store, row: OutboxRow, error: ConnectError, *, now: datetime, patience: Patience) -> Delivered:
    if isinstance(error, AddressRefused) or (isinstance(error, RequestFailed) and error.status in _HOPELESS):
        return _bury(store, row, str(error))
    if row.attempt >= patience.attempts:
        return _bury(store, row, f"{error} (attempt {row.attempt}, the last)")
    asked_s = (error.retry_after_s or 0.0) if isinstance(error, RequestFailed) else 0.0
    later = now + timedelta(seconds=max(patience.wait_s(row.key, row.attempt), asked_s))
    log.warning("%s to %s did not arrive, next try at %s: %s", row.kind, row.sink, later.isoformat(), error)
    store.failed(row.id, str(error), later, attempt=row.attempt)
    return Delivered(waiting=1)


def _bury(store: Store, row: OutboxRow, cause: str) -> Delivered:
    log.error("%s to %s is dead: %s", row.kind, row.sink, cause)
    store.failed(row.id, cause, None, attempt=row.attempt)
    return Delivered(dead=1)
