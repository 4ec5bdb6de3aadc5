"""The texts of the catalogue in an index of the core, kept in step with the catalogue."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mercat.encoders.base import Encoder
from mercat.errors import ArtifactError
from mercat.indexes.base import Index, IndexFactory
from mercat_recommendation.candidates import Numbers, in_turn
from mercat_recommendation.catalogue import Catalogue

_log = logging.getLogger(__name__)
_SAVE_SHARE = 0.01  # of the rows: with fewer changes than this nothing is saved, they are taken in again at a start
_SELECTIVE = 0.5  # with a smaller share of the catalogue open, the index is told which items are


class ItemIndex:
    """Holds one vector per item, under the fingerprint of the encoder. One thread keeps it in step, any number ask.

    What is saved is derived: lost, of another encoder or of another store, it is made anew from the catalogue's
    vectors, and a warning says so.
    """

    def __init__(self, factory: IndexFactory, encoder: Encoder, *, collection: str) -> None:
        self._factory, self._dimensions, self._fingerprint = factory, encoder.dimensions, encoder.fingerprint
        self._contents = f"items of {collection}, title+categories+text"
        self._index: Index | None = None
        self._unsaved = 0
        self._saved_by_others = False

    def keep_up(
        self, changes: Mapping[str, int], catalogue: Catalogue, vectors: NDArray[np.float32], *, sequence: int
    ) -> None:
        """Take in `changes` (item to number of its change in the store) up to `sequence`, and save."""
        index, why = self._opened()
        if not why and index.sequence > sequence:
            why = "it is ahead of the store"
        if not why:
            found = {item for item, at in changes.items() if at > index.sequence}
            self._take_in(index, found, catalogue, vectors)
            rows = int((np.linalg.norm(vectors, axis=1) > 0).sum())
            why = "" if len(index) == rows else f"it holds {len(index)} rows and the catalogue {rows}"
        if why:
            _log.warning("%s: the index is made anew: %s", self._contents, why)
            index = self._open(fresh=True)
            self._take_in(index, set(catalogue.numbers), catalogue, vectors)
        index.sequence, self._index = sequence, index
        if self._unsaved and self._unsaved >= _SAVE_SHARE * len(index):
            self._save(index)

    def nearest(
        self, asked: NDArray[np.float32], open_: NDArray[np.bool_], catalogue: Catalogue, *, size: int
    ) -> Numbers:
        """Return at most `size` open items near to any of `asked`, in turn; fewer only if no more have a vector."""
        if self._index is None or not len(asked) or not open_.any():
            return np.zeros(0, dtype=np.int64)
        closed = len(open_) - int(open_.sum())
        if open_.mean() >= _SELECTIVE:
            found = self._asked(asked, open_, catalogue, k=size + min(closed, size), only_open=False)
            if len(found) >= size:
                return found[:size]
        return self._asked(asked, open_, catalogue, k=size, only_open=True)[:size]

    def _asked(
        self, asked: NDArray[np.float32], open_: NDArray[np.bool_], catalogue: Catalogue, *, k: int, only_open: bool
    ) -> Numbers:
        if self._index is None:
            return np.zeros(0, dtype=np.int64)
        allowed = [catalogue.items[number].id for number in np.flatnonzero(open_).tolist()] if only_open else None
        lists = []
        for found in self._index.search(asked, k, allowed=allowed):
            # the index may be a change ahead of the catalogue that this request looks at, or behind
            numbers = np.array([catalogue.numbers.get(item, -1) for item in found.ids], dtype=np.int64)
            numbers = numbers[numbers >= 0]
            lists.append(numbers[open_[numbers]])
        return in_turn(lists)

    def _take_in(self, index: Index, ids: set[str], catalogue: Catalogue, vectors: NDArray[np.float32]) -> None:
        """Put in the rows of these items; those that left or have no direction are taken out."""
        numbers = np.array(sorted(catalogue.numbers[item] for item in ids if item in catalogue.numbers), dtype=np.int64)
        numbers = numbers[np.linalg.norm(vectors[numbers], axis=1) > 0]
        there = [catalogue.items[number].id for number in numbers.tolist()]
        if there:
            index.upsert(there, vectors[numbers])
        self._unsaved += len(there) + index.delete(ids - set(there))

    def _save(self, index: Index) -> None:
        """Save; if another process has, or there is no room, go on with what is here and open it anew the next time."""
        try:
            index.save(self._factory.folder)
            self._unsaved = 0
        except ArtifactError as error:
            _log.warning("%s: not saved: %s", self._contents, error.found or error.asked)
            self._saved_by_others = True

    def _opened(self) -> tuple[Index, str]:
        """Return the index, and why what is saved cannot be used."""
        if self._index is not None and not self._saved_by_others:
            return self._index, ""
        self._saved_by_others = False
        try:
            return self._open(fresh=False), ""
        except ArtifactError as error:
            return self._open(fresh=True), error.found or error.asked

    def _open(self, *, fresh: bool) -> Index:
        return self._factory.open(self._dimensions, self._fingerprint, contents=self._contents, fresh=fresh)
