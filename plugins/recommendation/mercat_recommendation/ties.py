"""What is learned from all events before a time: ties between items and places of items. Saved as plain arrays."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import load_arrays, save_arrays
from mercat_recommendation.collaborative import (
    Neighbours,
    busiest,
    ease,
    factors,
    following,
    likeness,
    strongest,
    together,
)
from mercat_recommendation.events import Log
from mercat_recommendation.text_map import fit_map, placed

FILE = "ties.safetensors"
_KINDS = ("ease", "alike", "follows")


@dataclass(frozen=True, slots=True)
class TieSettings:
    """How ties are learned. `most_items` bounds the dense tables: rarer items live by their text alone."""

    ease_strength: float = 300.0
    lean: float = 0.75
    dimensions: int = 64
    keep: int = 400
    most_items: int = 8_000
    map_strength: float = 3.0

    def as_dict(self) -> dict[str, float]:
        """Return the settings by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Ties:
    """`places` has shape (items, dimensions) and `mapping` (dimensions of texts, dimensions)."""

    ease: Neighbours
    alike: Neighbours
    follows: Neighbours
    places: NDArray[np.float32]
    mapping: NDArray[np.float32]

    @classmethod
    def fit(cls, log: Log, vectors: NDArray[np.float32], *, settings: TieSettings, seed: int = 0) -> Ties:
        """Learn from a log; `vectors` holds one text vector per item of the catalogue."""
        items = len(vectors)
        chosen = busiest(log, items, most=settings.most_items)
        counts = together(log, chosen)
        tables = {
            "ease": ease(counts, strength=settings.ease_strength),
            "alike": likeness(counts, lean=settings.lean),
            "follows": following(log, chosen),
        }
        kept = {name: strongest(table, chosen, items=items, keep=settings.keep) for name, table in tables.items()}
        coordinates = np.zeros((items, settings.dimensions), dtype=np.float32)
        if len(chosen):
            coordinates[chosen] = factors(likeness(counts, lean=0.5), dimensions=settings.dimensions, seed=seed)
        events = np.bincount(log.item[log.strength > 0], minlength=items).astype(np.float64)
        mapping = fit_map(vectors, coordinates, events, strength=settings.map_strength)
        return cls(**kept, places=placed(vectors, coordinates, events, mapping), mapping=mapping)

    def save(self, folder: Path) -> None:
        """Write `ties.safetensors` into a folder."""
        arrays: dict[str, NDArray[np.generic]] = {"places": self.places, "mapping": self.mapping}
        for kind in _KINDS:
            found: Neighbours = getattr(self, kind)
            arrays |= {f"{kind}.items": found.items, f"{kind}.values": found.values}
        save_arrays(folder / FILE, arrays)

    @classmethod
    def load(cls, folder: Path) -> Ties:
        """Read what `save` wrote."""
        arrays = load_arrays(folder / FILE)
        kept = {kind: Neighbours(arrays[f"{kind}.items"], arrays[f"{kind}.values"]) for kind in _KINDS}
        return cls(**kept, places=arrays["places"], mapping=arrays["mapping"])

    def grown(self, numbers: NDArray[np.int64], vectors: NDArray[np.float32]) -> Ties:
        """Return these ties for another catalogue.

        `numbers` says for each of its items the number it had here, -1 for an item that is new: such an item has no
        ties and the place that its text vector is mapped to.
        """
        renumbered = {kind: _renumbered(getattr(self, kind), numbers) for kind in _KINDS}
        places = vectors @ self.mapping
        old = numbers >= 0
        places[old] = self.places[numbers[old]]
        return Ties(**renumbered, places=places, mapping=self.mapping)


def _renumbered(old: Neighbours, numbers: NDArray[np.int64]) -> Neighbours:
    now = np.full(max(len(old.items), 1), -1, dtype=np.int32)
    known = np.flatnonzero(numbers >= 0)
    now[numbers[known]] = known
    items = np.zeros((len(numbers), old.items.shape[1]), dtype=np.int32)
    values = np.zeros(items.shape, dtype=np.float32)
    items[known], values[known] = now[old.items[numbers[known]]], old.values[numbers[known]]
    values[items < 0], items[items < 0] = 0.0, 0
    return Neighbours(items, values)
