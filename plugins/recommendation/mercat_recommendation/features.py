"""Features of (user, item) as of a time: nothing that happened at that time or later is looked at.

Each feature is centred and scaled over the whole catalogue, so that a weight means the same at every time and the
candidates that are scored do not change the score of one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat_recommendation import popularity
from mercat_recommendation.catalogue import Catalogue
from mercat_recommendation.collaborative import Neighbours, recency
from mercat_recommendation.events import DAY_S, Log
from mercat_recommendation.ties import Ties

Column = NDArray[np.float32]

SHARED = ("popular_7d", "popular_3d", "popular_14d", "popular_all", "in_shop", "new", "quality")
PERSONAL = ("ease_recent", "ease_all", "alike", "follows", "near", "text", "category", "price")
NAMES = (*SHARED, *PERSONAL)
"""Feature names in the order of columns: those that are the same for everybody at one time, then a user's own."""

_NEW_DAYS = 30.0
_NO_SPREAD = 1e-9
_ROWS_AT_ONCE = 8_192
_LONGEST = 500  # items of a history that are looked at, the latest


@dataclass(frozen=True, slots=True)
class History:
    """What somebody touched, as numbers of the catalogue.

    `seen` has shape (events,), in order with repeats; `liked`, each once and the latest last, and `strength` have shape
    (touched,): the items with influence, and how much their kind of event counts.
    """

    seen: NDArray[np.int64]
    liked: NDArray[np.int64]
    strength: NDArray[np.float32]

    @classmethod
    def of(cls, log: Log, rows: NDArray[np.int64]) -> History:
        """Build from the positions of one user's events in a log."""
        return cls.from_items(log.item[rows], log.strength[rows])

    @classmethod
    def from_items(cls, items: NDArray[np.int64], strength: NDArray[np.float32]) -> History:
        """Build from item numbers, oldest first; of repeats the latest counts, and a strength of 0 has no influence."""
        backwards = items[::-1]
        _, first = np.unique(backwards, return_index=True)
        last = np.sort(len(items) - 1 - first)
        kept = last[strength[last] > 0][-_LONGEST:]
        return cls(items, items[kept], strength[kept])


def popular(log: Log, catalogue: Catalogue, *, at: float) -> Column:
    """Return shape (SHARED, items): what holds for everybody at a time."""
    size = len(catalogue)
    shown = popularity.first_seen(log, size, at=at)
    since = np.where(np.isnan(shown), catalogue.born, shown)
    age_days = np.where(np.isnan(since), 0.0, np.maximum(at - since, 0.0) / DAY_S)
    columns = [
        _share(popularity.in_window(log, size, at=at, days=7.0)),
        _share(popularity.decayed(log, size, at=at, half_life_days=3.0)),
        _share(popularity.decayed(log, size, at=at, half_life_days=14.0)),
        _share(popularity.in_window(log, size, at=at, days=1e6)),
        np.log1p(age_days),
        (shown > at - _NEW_DAYS * DAY_S).astype(np.float64),
        popularity.quality(log, size, at=at),
    ]
    return _scaled(np.stack(columns))


def personal(history: History, ties: Ties, catalogue: Catalogue, vectors: Column) -> Column:
    """Return shape (PERSONAL, items): what holds for somebody with this history; zeros without one."""
    return personal_many([history], ties, catalogue, vectors)[0]


def personal_many(histories: Sequence[History], ties: Ties, catalogue: Catalogue, vectors: Column) -> list[Column]:
    """Return `personal` of each history; likeness to all of them is one product of matrices."""
    near = _profiles(histories, ties.places) @ ties.places.T
    text = _profiles(histories, vectors) @ vectors.T
    none = np.zeros((len(PERSONAL), len(catalogue)), dtype=np.float32)
    return [
        _personal(history, ties, catalogue, near[row], text[row]) if len(history.liked) else none
        for row, history in enumerate(histories)
    ]


def _profiles(histories: Sequence[History], rows: Column) -> Column:
    """Return shape (histories, dimensions): the mean place of what each touched, the latest counting most."""
    found = np.zeros((len(histories), rows.shape[1]), dtype=np.float32)
    for number, history in enumerate(histories):
        if len(history.liked):
            found[number] = (_weights(history, 20.0)[:, None] * rows[history.liked]).sum(axis=0)
    return found


def _personal(history: History, ties: Ties, catalogue: Catalogue, near: Column, text: Column) -> Column:
    liked, short, middle = history.liked, _weights(history, 5.0), _weights(history, 20.0)
    columns: list[NDArray[np.floating[Any]]] = [
        ties.ease.scores(liked, middle),
        ties.ease.scores(liked, _weights(history, 1e9)),
        _share(ties.alike.scores(liked, short)),
        _share(_follows(ties.follows, history)),
        near,
        text,
        _category(catalogue, liked, middle),
        _price(catalogue, liked, middle),
    ]
    return _scaled(np.stack(columns))


def personal_of_some(
    history: History,
    ties: Ties,
    catalogue: Catalogue,
    vectors: Column,
    *,
    some: NDArray[np.int64],
    moments: tuple[Moments, Moments],
) -> Column:
    """Return `personal`, with the likeness of places and of texts reckoned for the items `some` alone, 0 for others.

    `moments` are those of `ties.places` and of `vectors`.
    """
    none = np.zeros(len(catalogue), dtype=np.float32)
    if not len(history.liked):
        return np.zeros((len(PERSONAL), len(catalogue)), dtype=np.float32)
    found = _personal(history, ties, catalogue, none, none)
    for name, rows, of_all in (("near", ties.places, moments[0]), ("text", vectors, moments[1])):
        profile = _profiles([history], rows)[0]
        found[PERSONAL.index(name), some] = of_all.scaled(rows[some] @ profile, profile)
    return found


@dataclass(frozen=True, slots=True)
class Moments:
    """The mean of many rows and their covariance: they centre and scale likeness to all rows by looking at a few."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def of(cls, rows: Column) -> Moments:
        """Reckon from shape (items, dimensions)."""
        size, wide = len(rows), rows.shape[1]
        mean = rows.mean(axis=0, dtype=np.float64) if size else np.zeros(wide)
        total = np.zeros((wide, wide))
        for start in range(0, size, _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE] - mean
            total += part.T @ part
        return cls(mean, total / max(size, 1))

    def scaled(self, likeness: Column, profile: Column) -> Column:
        """Scale inner products of some rows with a profile as `personal` scales those of all."""
        wide = profile.astype(np.float64)
        spread = max(float(wide @ self.covariance @ wide), 0.0) ** 0.5
        if spread <= _NO_SPREAD:
            return np.zeros_like(likeness)
        return np.asarray((likeness - self.mean @ wide) / spread, dtype=np.float32)


def both(shared: Column, own: Column) -> Column:
    """Return shape (items, NAMES) from the two groups."""
    return np.concatenate([shared, own]).T


def _weights(history: History, half_life_items: float) -> Column:
    weights = recency(len(history.liked), half_life_items=half_life_items) * history.strength
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def _follows(ties: Neighbours, history: History) -> Column:
    return ties.scores(history.liked, _weights(history, 10.0))


def _category(catalogue: Catalogue, liked: NDArray[np.int64], weights: Column) -> Column:
    own = (weights @ catalogue.categories[liked] + 0.02) / (catalogue.categories.mean(axis=0) + 0.02)
    per_item = np.maximum(catalogue.categories.sum(axis=1), 1.0)
    return np.asarray(catalogue.categories @ np.log(own) / per_item, dtype=np.float32)


def _price(catalogue: Catalogue, liked: NDArray[np.int64], weights: Column) -> Column:
    """Nearness to what this user pays: minus the distance of log prices; 0 where a price is unknown."""
    logs = np.log(np.where(catalogue.price > 0, catalogue.price, np.nan))
    paid, known = logs[liked], ~np.isnan(logs[liked])
    if not known.any():
        return np.zeros(len(catalogue), dtype=np.float32)
    usual = float((paid[known] * weights[known]).sum() / weights[known].sum())
    return np.nan_to_num(-np.abs(logs - usual), nan=0.0).astype(np.float32)


def _share(counts: NDArray[np.float64] | Column) -> NDArray[np.float64]:
    """Log of an item's share relative to an even one; 0.3 keeps items without events in reach."""
    total = counts.sum()
    even = counts * (len(counts) / total) if total > 0 else np.zeros(len(counts))
    return np.asarray(np.log(even + 0.3), dtype=np.float64)


def _scaled(rows: NDArray[np.float64] | Column) -> Column:
    spread = rows.std(axis=1, keepdims=True)
    centred = rows - rows.mean(axis=1, keepdims=True)
    return np.where(spread > _NO_SPREAD, centred / np.maximum(spread, _NO_SPREAD), 0.0).astype(np.float32)
