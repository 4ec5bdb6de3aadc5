"""How often items were touched, as of a time. Nothing after that time is looked at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mercat_recommendation.events import DAY_S, Log


def in_window(log: Log, items: int, *, at: float, days: float) -> NDArray[np.float64]:
    """Return shape (items,): the strength of events in the `days` before `at` (Unix seconds)."""
    part = log.between(at - days * DAY_S, at)
    return np.bincount(part.item, weights=part.strength, minlength=items).astype(np.float64)


def decayed(log: Log, items: int, *, at: float, half_life_days: float) -> NDArray[np.float64]:
    """Return shape (items,): the strength of all events before `at`, each halved every `half_life_days`."""
    part = log.before(at)
    weights = part.strength * 0.5 ** ((at - part.at) / (half_life_days * DAY_S))
    return np.bincount(part.item, weights=weights, minlength=items).astype(np.float64)


def first_seen(log: Log, items: int, *, at: float) -> NDArray[np.float64]:
    """Return shape (items,): Unix seconds of the first event before `at`, NaN for an item without one."""
    part, found = log.before(at), np.full(items, np.inf)
    np.minimum.at(found, part.item, part.at)
    return np.where(np.isfinite(found), found, np.nan)


def quality(log: Log, items: int, *, at: float, prior: float = 5.0) -> NDArray[np.float64]:
    """Return shape (items,): the mean weight of an item's events, drawn to the mean of all by `prior` events."""
    part = log.before(at)
    total = np.bincount(part.item, weights=part.weight, minlength=items)
    count = np.bincount(part.item, minlength=items)
    mean = float(part.weight.mean()) if len(part) else 0.0
    return np.asarray((total + prior * mean) / (count + prior))
