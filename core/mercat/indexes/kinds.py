"""Which structure an index of some size gets: pure decisions, without FAISS."""

from __future__ import annotations

import re

from mercat.errors import ConfigError

FLAT = "flat"
GRAPH = "HNSW32"
FLAT_ROWS = 50_000  # up to here a flat search takes a few milliseconds on one core (384 wide): no graph is worth it
_DEAD_SHARE = 0.2
_DEAD_ROWS = 64  # fewer are never worth building anew


def checked_kind(kind: str) -> str:
    """Return "auto", "flat" or "HNSW<links>" as FAISS spells it; ConfigError for anything else."""
    if kind.lower() in ("auto", FLAT):
        return kind.lower()
    if kind.lower() == "hnsw":
        return GRAPH
    if re.fullmatch(r"hnsw[1-9]\d?", kind.lower()):
        return kind.upper()
    known = "Known: auto, flat, hnsw, HNSW16, HNSW32, HNSW64"
    raise ConfigError(f"An index of kind '{kind}' was asked for", known, 'kind = "auto"')


def kind_due(asked: str, *, rows: int, now: str, flat_rows: int) -> str:
    """Return the kind that fits `rows`. Under "auto" a graph stays one until it has shrunk to half of `flat_rows`."""
    if asked != "auto":
        return asked
    if rows <= (flat_rows if now == FLAT else flat_rows // 2):
        return FLAT
    return GRAPH if now == FLAT else now


def worth_building_anew(*, dead: int, total: int) -> bool:
    """Say whether so many rows are dead that searches suffer."""
    return dead > _DEAD_ROWS and dead > _DEAD_SHARE * total
