"""Keeping something derived up with a collection of the store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import Generic, Protocol, TypeVar

from mercat.errors import ArtifactError
from mercat.retrieval.base import Progress, Refreshed
from mercat.retrieval.rows import Rows
from mercat.store import Change

_log = logging.getLogger(__name__)
PAGE = 1000


class Derived(Protocol):
    """What is made from the rows of a collection and can be made again."""

    sequence: int

    def take_in(self, changes: Sequence[Change]) -> tuple[int, int]:
        """Apply changes up to the last one's sequence. Return how many rows were put in and taken out."""
        ...

    def finish(self) -> None:
        """Make what was taken in visible to searches."""
        ...

    def save(self) -> None:
        """Put it on the disk."""
        ...

    def saved_sequence(self) -> int | None:
        """Return the sequence of what is on the disk, which another process may have saved; None for nothing."""
        ...

    def outdated(self) -> bool:
        """Say whether another process has saved something newer."""
        ...

    def settle(self) -> None:
        """Wait for what goes on in the background."""
        ...

    def writing(self) -> AbstractContextManager[None]:
        """Hold the right to save, for the block; ArtifactError while another process holds it."""
        ...


D = TypeVar("D", bound=Derived)


class Follower(Generic[D]):
    """Opens, refreshes and replaces one derived thing; searches may go on in other threads all the while.

    `open(fresh)` opens what is saved, or starts an empty one. Before a search, and at most every `fresh_s` seconds, up
    to `small_changes` changes are taken in on the way, in memory only; more are left to `refresh`, which takes in
    `page()` at a time.
    """

    def __init__(
        self,
        rows: Rows,
        open: Callable[[bool], D],
        *,
        name: str,
        fresh_s: float,
        small_changes: int,
        ticks: Callable[[], float],
        save_every: int = 20_000,
        page: Callable[[], int] = lambda: PAGE,
    ) -> None:
        self._rows, self._open, self._name = rows, open, name
        self._fresh_s, self._small_changes, self._save_every, self._ticks = fresh_s, small_changes, save_every, ticks
        self._page = page
        self._refreshing = Lock()
        self._looked_at: float | None = None
        self._current: D | None = None

    def fresh(self) -> D:
        """Return the derived thing for a search, with small changes taken in."""
        if self._current is None or self._due():
            with self._turn(wait=self._current is None) as mine:
                if mine:
                    self._look()
                elif self._opened().sequence == 0 and self._rows.last_sequence():
                    self._leave_to_refresh(self._opened())  # the first refresh is running
        return self._opened()

    def opened(self) -> D:
        """Return the derived thing as it stands, opened if need be."""
        with self._refreshing:
            return self._opened()

    def caught_up(self) -> D:
        """Return the derived thing with all changes taken in, in memory only; as `opened` where nothing ever was."""
        with self._refreshing:
            current = self._opened()
            start = current.sequence
            while start and (changes := self._rows.changes(current.sequence, self._page())):
                current.take_in(changes)
            if current.sequence != start:
                current.finish()
            return current

    def refresh(self, progress: Progress | None) -> Refreshed:
        """Take in all changes and save."""
        with self._refreshing, self._opened().writing():
            current = self._newest()
            self._not_ahead(current)
            return self._fill(current, progress, save_every=self._save_every)

    def rebuild(self, progress: Progress | None) -> Refreshed:
        """Make a new one from all rows, save it, and only then let go of the old one."""
        with self._refreshing:
            new = self._open(True)
            with new.writing():
                done = self._fill(new, progress, save_every=None)
            self._current = new
            return done

    def _opened(self) -> D:
        if self._current is None:
            self._current = self._open(False)
        return self._current

    def _newest(self) -> D:
        """Return what is open, or what another process has saved since."""
        current = self._opened()
        if current.outdated():
            current = self._current = self._open(False)
        return current

    def _due(self) -> bool:
        return self._looked_at is None or self._ticks() - self._looked_at >= self._fresh_s

    @contextmanager
    def _turn(self, *, wait: bool) -> Iterator[bool]:
        """Be the one that changes things; False if somebody else is at it and `wait` is not asked for."""
        mine = self._refreshing.acquire(blocking=wait)
        try:
            yield mine
        finally:
            if mine:
                self._refreshing.release()

    def _look(self) -> None:
        """Take in small changes. The time of the look is noted only if it went well."""
        current = self._opened()
        if self._rows.last_sequence() > current.sequence:
            changes = self._rows.changes(current.sequence, self._small_changes + 1)
            if len(changes) > self._small_changes:
                current = self._newest()
                changes = self._rows.changes(current.sequence, self._small_changes + 1)
            if len(changes) > self._small_changes:
                self._leave_to_refresh(current)
            elif changes:
                current.take_in(changes)
                current.finish()
        self._looked_at = self._ticks()

    def _leave_to_refresh(self, current: D) -> None:
        if current.sequence == 0:
            rows, remedy = self._rows.count(), f"mercat index build {self._name}".strip()
            raise ArtifactError(f"Searching {self._rows.contents}", f"Its {rows} rows were not taken in yet", remedy)
        _log.warning("%s: more than %d changes wait to be taken in", self._rows.contents, self._small_changes)

    def _not_ahead(self, current: D) -> None:
        """The store's numbers only grow, so an index that is ahead was made from another store, or a newer backup."""
        if current.sequence > (last := self._rows.last_sequence()):
            raise ArtifactError(
                f"Refreshing {self._rows.contents}",
                f"The index stands at change {current.sequence} and the store, put back or another one, at {last}",
                f"mercat index build --anew {self._name}".strip(),
            )

    def _fill(self, into: D, progress: Progress | None, *, save_every: int | None) -> Refreshed:
        upserted = deleted = since_save = 0
        total = self._rows.count() if into.sequence == 0 else 0
        page = self._page()
        while changes := self._rows.changes(into.sequence, page):
            put_in, taken_out = into.take_in(changes)
            upserted, deleted, since_save = upserted + put_in, deleted + taken_out, since_save + len(changes)
            if progress:
                progress(upserted, max(total, upserted))
            if save_every and since_save >= save_every:
                into.save()
                since_save = 0
        if progress and upserted:
            progress(upserted, upserted)  # rows without text were counted and are not put in
        if upserted or deleted:
            into.finish()
            into.settle()
        if into.saved_sequence() != into.sequence or save_every is None:
            into.save()
        return Refreshed(upserted, deleted, into.sequence)
