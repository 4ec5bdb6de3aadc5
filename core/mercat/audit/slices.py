"""How well a classifier serves each group of rows: figures per value of a column, and whether a gap is more than luck.

Chung et al. 2019, "Slice Finder"; a gap between the best and the worst of several slices is large by luck alone, so it
is held against the gaps after shuffling the column (a permutation test, Good 2005).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mercat.audit.base import Scored
from mercat.audit.calibration import share_of
from mercat.evaluation import Metric
from mercat.text import detect

LEAST_ROWS = 10
MOST_VALUES = 10
_SHUFFLES = 1000
_QUARTER = re.compile(r"(up to|above) (-?[\d.]+(?:e[+-]?\d+)?)(?: to \S+)?$")


@dataclass(frozen=True, slots=True)
class Slice:
    """Figures of the rows that share a value, with Wilson intervals; `covered_error` is over answered rows."""

    value: str
    rows: int
    accuracy: Metric
    coverage: Metric
    covered_error: Metric


@dataclass(frozen=True, slots=True)
class Slices:
    """The slices of one column, and the gap in accuracy between the best and the worst.

    `by_chance` is the share of shuffled columns whose gap is as large: small means more than luck. Slices with fewer
    than `least_rows` rows are shown and left out of the gap; `best` and `worst` are "" where fewer than two remain.
    """

    column: str
    slices: tuple[Slice, ...]
    best: str
    worst: str
    gap: float
    by_chance: float
    least_rows: int


def by_column(scored: Scored, *, least_rows: int = LEAST_ROWS, seed: int = 0) -> list[Slices]:
    """Return the slices of every column that parts the rows, the most doubtful first."""
    found = [
        slices_of(scored, column, values, least_rows=least_rows, seed=seed)
        for column, values in columns_of(scored).items()
        if len(set(values)) > 1
    ]
    return sorted(found, key=lambda each: (each.by_chance, -each.gap, each.column))


def slices_of(
    scored: Scored, column: str, values: Sequence[str], *, least_rows: int = LEAST_ROWS, seed: int = 0
) -> Slices:
    """Return the slices of the rows by `values`, one per row."""
    counts = Counter(values)
    places = {value: np.flatnonzero([each == value for each in values]) for value in counts}
    ordered = sorted(counts, key=lambda value: (_rising(value), -counts[value], value))
    right = scored.correct.astype(np.float64)
    counted = [value for value in ordered if counts[value] >= least_rows]
    shares = {value: float(right[places[value]].mean()) for value in counted}
    enough = len(counted) > 1
    best = max(shares, key=lambda value: shares[value]) if enough else ""
    worst = min(shares, key=lambda value: shares[value]) if enough else ""
    gap = shares[best] - shares[worst] if enough else 0.0
    return Slices(
        column=column,
        slices=tuple(_slice(scored, value, places[value]) for value in ordered),
        best=best,
        worst=worst,
        gap=gap,
        by_chance=_by_chance(right, [places[value] for value in counted], gap, seed) if enough else 1.0,
        least_rows=least_rows,
    )


def columns_of(scored: Scored) -> dict[str, list[str]]:
    """Return every column by name, one value per row: language and length of the text, then the rows' metadata.

    Numbers with many values become quarters; of other columns the most frequent values stay and the rest is "other".
    """
    texts = scored.texts
    columns = {
        "language": [detect(text) or "unknown" for text in texts],
        "length in characters": _quarters(np.array([len(text) for text in texts], dtype=np.float64)),
    }
    names = dict.fromkeys(name for row in scored.rows for name in row.metadata)
    for name in names:
        columns[name] = _grouped([row.metadata.get(name) for row in scored.rows])
    return columns


def _slice(scored: Scored, value: str, places: NDArray[np.intp]) -> Slice:
    part = scored.at([int(place) for place in places])
    wrong, answered = ~part.correct, part.answered
    return Slice(
        value=value,
        rows=len(places),
        accuracy=share_of(int((~wrong).sum()), len(places)),
        coverage=share_of(int(answered.sum()), len(places)),
        covered_error=share_of(int(wrong[answered].sum()), int(answered.sum())),
    )


def _by_chance(right: NDArray[np.float64], parts: Sequence[NDArray[np.intp]], gap: float, seed: int) -> float:
    """Return the share of shuffles with as large a gap; the column as it is counts as one of them.

    How many right rows a shuffle puts into each slice is multivariate hypergeometric, so no row need be moved.
    """
    sizes = np.array([len(part) for part in parts])
    hits = int(sum(right[part].sum() for part in parts))
    shares = np.random.default_rng(seed).multivariate_hypergeometric(sizes, hits, size=_SHUFFLES) / sizes
    as_large = (shares.max(axis=1) - shares.min(axis=1)) >= gap - 1e-12
    return float((as_large.sum() + 1) / (_SHUFFLES + 1))


def _grouped(values: Sequence[object]) -> list[str]:
    numbers = _numbers(values)
    if numbers is not None and len(set(values)) > MOST_VALUES:
        return _quarters(numbers)
    words = ["(none)" if value in (None, "") else str(value) for value in values]
    kept = {value for value, _ in Counter(words).most_common(MOST_VALUES)}
    return [word if word in kept else "other" for word in words]


def _rising(value: str) -> tuple[float, bool]:
    """Sort the quarters of a number by where they begin."""
    found = _QUARTER.match(value)
    return (float(found[2]), found[1] == "above") if found else (0.0, False)


def _numbers(values: Sequence[object]) -> NDArray[np.float64] | None:
    try:
        found = np.array([float(str(value)) for value in values], dtype=np.float64)
    except ValueError:
        return None
    return found if np.isfinite(found).all() else None


def _quarters(values: NDArray[np.float64]) -> list[str]:
    edges = np.unique(np.quantile(values, (0.25, 0.5, 0.75), method="lower"))
    names = _named(edges)
    return [names[int(place)] for place in np.searchsorted(edges, values)]


def _named(edges: NDArray[np.float64]) -> Mapping[int, str]:
    shown = [f"{edge:g}" for edge in edges]
    between = {place: f"above {shown[place - 1]} to {shown[place]}" for place in range(1, len(shown))}
    return {0: f"up to {shown[0]}", **between, len(shown): f"above {shown[-1]}"}
