"""Which structure an index or a segment of some size gets: pure decisions, without FAISS."""

from __future__ import annotations

import re

from mercat.errors import ConfigError

FLAT = "flat"
LISTS = "IVF"
ROUNDED = "IVF,SQ8"
FLAT_ROWS = 20_000  # up to here a flat search takes a few milliseconds on one core (384 wide)
ROUNDED_ROWS = 500_000  # above, a row is kept in 8 bits a number: a million of 384 numbers in 384 MB
TAIL_ROWS = 1024  # written before they are sealed; compared one by one in a tenth of a millisecond (384 wide)
_INDEX_AT = 4  # times the tail: so many rows may be without a structure
_SHAPE = re.compile(r"(?P<by>HNSW[1-9]\d?|IVF([1-9]\d*)?)?(,|^|$)(?P<code>FLAT|SQ8|PQ[1-9]\d*(X4FS)?|PQ)?$")
_ALIASES = {"HNSW": "HNSW32", "INT8": ROUNDED, "SQ8": ROUNDED, "PQ": "IVF,PQ"}
_ROWS_A_LIST = 16  # fewer, and a number of lists that was asked for waits until there are more rows
_DEAD_SHARE = 0.2
_DEAD_ROWS = 64  # fewer are never worth building anew


def checked_kind(kind: str) -> str:
    """Return "auto", "flat" or a FAISS factory string; ConfigError for anything else.

    "IVF" without a number takes lists by the size of each segment, "PQ" without one takes parts of 4 dimensions.
    """
    if kind.lower() in ("auto", FLAT):
        return kind.lower()
    wanted = _ALIASES.get(kind.upper(), kind.upper())
    found = _SHAPE.fullmatch(wanted)
    if not found or not found["by"] or wanted.endswith(","):
        known = "Known: auto, flat, HNSW32, IVF, IVF1024, int8 (IVF,SQ8), PQ (IVF,PQ), HNSW32,SQ8, IVF,PQ96x4fs"
        raise ConfigError(f"An index of kind '{kind}' was asked for", known, 'kind = "auto"')
    code = (found["code"] or "FLAT").replace("X4FS", "x4fs")
    return found["by"] if code == "FLAT" else f"{found['by']},{code}"


def kind_due(asked: str, *, rows: int, now: str, flat_rows: int) -> str:
    """Return the kind that fits `rows`. Under "auto" a large one stays until it has shrunk to half of its bound."""
    if asked != "auto":
        return asked
    if rows <= (flat_rows if now == FLAT else flat_rows // 2):
        return FLAT
    return ROUNDED if rows > (ROUNDED_ROWS // 2 if now == ROUNDED else ROUNDED_ROWS) else LISTS


def index_at(tail_rows: int) -> int:
    """Return how many rows are worth a structure."""
    return _INDEX_AT * tail_rows


def factory(kind: str, *, rows: int, dimensions: int, smallest: int) -> str:
    """Return FAISS's factory string for a segment of `rows`; "flat" where they are fewer than `smallest`.

    Lists: about four times the root of the rows, a power of two, as FAISS's guidelines suggest.
    """
    if kind == FLAT or rows < max(smallest, 1):
        return FLAT
    by, _, code = kind.partition(",")
    if by.startswith(LISTS) and (by == LISTS or rows < _ROWS_A_LIST * int(by[3:])):
        by = f"{LISTS}{1 << max(2, (rows * 8).bit_length() // 2)}"
    if code == "PQ":
        code = f"PQ{dimensions // 4 if dimensions % 4 == 0 else dimensions}x4fs"
    return f"{by},{code or 'Flat'}"


def fits(built: str, kind: str) -> bool:
    """Say whether a structure of a factory string is one that an index of `kind` has; the number of lists is free."""
    if FLAT in (built, kind):
        return built == kind
    by, _, code = built.partition(",")
    wanted_by, _, wanted_code = kind.partition(",")
    same = wanted_by.startswith("IVF") if by.startswith("IVF") else by == wanted_by
    return same and code.startswith(wanted_code or "Flat")


def is_rounded(factory_string: str) -> bool:
    """Say whether a structure keeps vectors in fewer bits than they came with."""
    return factory_string.rpartition(",")[2].startswith(("SQ", "PQ"))


def worth_building_anew(*, dead: int, total: int) -> bool:
    """Say whether so many rows are dead that searches suffer."""
    return dead > _DEAD_ROWS and dead > _DEAD_SHARE * total
