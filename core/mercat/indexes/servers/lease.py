"""The right to write on a server that has no locks: a note that says who writes, and until when.

A best effort. Two writers that begin within the same tenth of a second are told apart by reading the note again; one
that was stopped for longer than the lease, or whose clock is wrong by as much, may meet another. Then both send rows of
the same store, which put twice change nothing, and the manifest of the later one counts.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from mercat.errors import ArtifactError, MercatError
from mercat.indexes.servers.base import Server

_log = logging.getLogger(__name__)
LEASE_S = 60.0


@contextmanager
def leased(
    server: Server,
    name: str,
    section: str,
    *,
    lease_s: float = LEASE_S,
    settle_s: float = 0.1,
    clock: Callable[[], float] = time.time,
) -> Iterator[None]:
    """Hold the lease of an index for the block, renewed from time to time. ArtifactError while another holds it.

    A process that was killed holds it for `lease_s` seconds more.
    """
    note, mine = f"{name}/writer", uuid.uuid4().hex
    _refuse_another(server, note, mine, section, clock())
    _take(server, note, mine, clock() + lease_s)
    time.sleep(settle_s)
    _refuse_another(server, note, mine, section, clock())
    done = Event()
    renewing = Thread(
        target=_renew, args=(server, note, mine, section, lease_s, clock, done), name="mercat-lease", daemon=True
    )
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join()
        if _holder(server, note)[0] == mine:
            server.drop_note(note)


def _renew(
    server: Server, note: str, mine: str, section: str, lease_s: float, clock: Callable[[], float], done: Event
) -> None:
    while not done.wait(lease_s / 3):
        try:
            _refuse_another(server, note, mine, section, clock())
            _take(server, note, mine, clock() + lease_s)
        except MercatError as error:
            _log.warning("The right to write the index '%s' could not be renewed: %s", section, error)


def _take(server: Server, note: str, mine: str, until: float) -> None:
    server.set_note(note, json.dumps({"holder": mine, "until": until}))


def _holder(server: Server, note: str) -> tuple[str, float]:
    """Return who holds the lease and until when; nobody if it cannot be read."""
    try:
        found = json.loads(server.note(note) or "{}")
        return str(found["holder"]), float(found["until"])
    except (ValueError, KeyError, TypeError):
        return "", 0.0


def _refuse_another(server: Server, note: str, mine: str, section: str, now: float) -> None:
    holder, until = _holder(server, note)
    if holder not in ("", mine) and until > now:
        raise ArtifactError(
            f"Writing the index '{section}' on {server.backend}",
            f"Another process is writing it, or was killed a moment ago: its lease ends in {until - now:.0f} s",
            "wait until it has ended, then: mercat index build",
        )
