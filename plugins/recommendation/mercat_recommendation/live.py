"""What a service looks at: model, catalogue, events, kept up with the store. A new event counts in the next answer."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import Artifacts
from mercat.encoders.base import Encoder
from mercat.errors import FingerprintError
from mercat.store import Store
from mercat.values import Document, Interaction
from mercat_recommendation.catalogue import Catalogue
from mercat_recommendation.events import Log, build_log, joined
from mercat_recommendation.features import Moments
from mercat_recommendation.item_index import ItemIndex
from mercat_recommendation.item_vectors import encode_items
from mercat_recommendation.model import RankModel
from mercat_recommendation.ties import Ties

_PAGE = 5_000


@dataclass(frozen=True, slots=True)
class View:
    """One consistent state. `ties` and `vectors` are in the numbers of `catalogue`; `users` gives numbers in `log`.

    `moments` are those of the ties' places and of the vectors; None where no index chooses candidates.
    """

    model: RankModel
    version: str
    catalogue: Catalogue
    vectors: NDArray[np.float32]
    ties: Ties
    log: Log
    users: dict[str, int]
    rejected: Counter[str]
    in_stock: NDArray[np.bool_]
    moments: tuple[Moments, Moments] | None = None


class Live:
    """Follows two collections of the store and the current version of an artifact. Safe to ask from several threads."""

    def __init__(
        self,
        store: Store,
        artifacts: Artifacts,
        encoder: Encoder,
        *,
        artifact: str,
        catalogue: str,
        events: str,
        index: ItemIndex | None = None,
    ) -> None:
        self._store, self._artifacts, self._encoder = store, artifacts, encoder
        self._artifact, self._catalogue, self._events = artifact, catalogue, events
        self._index = index
        self._lock = threading.Lock()
        self._items: dict[str, Document] = {}
        self._changed: dict[str, int] = {}  # items that the index has not taken in, with the numbers of their changes
        self._rows: dict[str, Interaction] = {}
        self._encoded: dict[str, NDArray[np.float32]] = {}
        self._item_sequence = self._event_sequence = 0
        self._view: View | None = None

    def view(self) -> View:
        """Return the state of now, after taking in what changed since the last call."""
        with self._lock:
            view = self._with_model(self._view)
            if self._follow_items() or view.version != getattr(self._view, "version", ""):
                view = self._with_catalogue(view)
            self._view = self._with_events(view)
            return self._view

    def _with_model(self, view: View | None) -> View:
        current = self._artifacts.current(self._artifact)
        if view is not None and view.version == current:
            return view
        artifact = self._artifacts.open(self._artifact, current)
        if artifact.encoder_fingerprint != self._encoder.fingerprint:
            raise FingerprintError(
                f"The ranker '{self._artifact}' is asked with another encoder",
                f"It was trained with {artifact.encoder_fingerprint[:12]}, this is {self._encoder.fingerprint[:12]}",
                f"mercat train {self._artifact}",
            )
        model = RankModel.load(artifact.folder)
        self._encoded |= dict(zip(model.texts, model.vectors, strict=True))
        empty, _ = build_log((), {})
        none = np.zeros(0, dtype=np.bool_)
        nothing = Catalogue.of(())
        return View(model, current, nothing, model.vectors, model.ties, empty, {}, Counter(), none)

    def _follow_items(self) -> bool:
        changed = False
        while changes := self._store.changes("documents", self._catalogue, after=self._item_sequence, limit=_PAGE):
            changed = True
            for change in changes:
                self._item_sequence = self._changed[change.id] = change.sequence
                if isinstance(change.row, Document):
                    self._items[change.id] = change.row
                else:
                    self._items.pop(change.id, None)
        return changed

    def _with_catalogue(self, view: View) -> View:
        """Number the items anew, encode texts that are new, and read all events again in these numbers."""
        catalogue = Catalogue.of(self._items.values())
        texts = catalogue.texts()
        missing = list(dict.fromkeys(text for text in texts if text not in self._encoded))
        self._encoded |= dict(zip(missing, encode_items(self._encoder, missing), strict=True))
        rows = [self._encoded[text] for text in texts]
        vectors = np.stack(rows) if rows else np.zeros((0, self._encoder.dimensions), dtype=np.float32)
        self._encoded = dict(zip(texts, rows, strict=True))
        old = {item: number for number, item in enumerate(view.model.item_ids)}
        numbers = np.array([old.get(item.id, -1) for item in catalogue.items], dtype=np.int64)
        log, rejected = build_log(self._rows.values(), catalogue.numbers, born=catalogue.born_by_id())
        ties, moments = view.model.ties.grown(numbers, vectors), None
        if self._index is not None:
            self._index.keep_up(self._changed, catalogue, vectors, sequence=self._item_sequence)
            moments = (Moments.of(ties.places), Moments.of(vectors))
        self._changed = {}
        return replace(
            view,
            catalogue=catalogue,
            vectors=vectors,
            ties=ties,
            log=log,
            users=_numbers(log),
            rejected=rejected,
            in_stock=catalogue.in_stock(),
            moments=moments,
        )

    def _with_events(self, view: View) -> View:
        fresh: list[Interaction] = []
        rebuild = False
        while changes := self._store.changes("interactions", self._events, after=self._event_sequence, limit=_PAGE):
            for change in changes:
                self._event_sequence = change.sequence
                rebuild |= change.id in self._rows
                self._rows.pop(change.id, None)
                if isinstance(change.row, Interaction):
                    self._rows[change.id] = change.row
                    fresh.append(change.row)
        if not fresh and not rebuild:
            return view
        born = view.catalogue.born_by_id()
        log, rejected = build_log(self._rows.values() if rebuild else fresh, view.catalogue.numbers, born=born)
        if not rebuild:
            log, rejected = joined(view.log, log), view.rejected + rejected
        return replace(view, log=log, users=_numbers(log), rejected=rejected)


def _numbers(log: Log) -> dict[str, int]:
    return {name: number for number, name in enumerate(log.users)}
