"""Which structure an index or a segment of some size gets: pure decisions, without FAISS."""

from __future__ import annotations

import re
from functools import cache

from mercat.errors import ConfigError

FLAT = "flat"
LISTS = "IVF"
BYTES = "IVF,SQ8"
CODES = "IVF,PQ"
FLAT_ROWS = 20_000  # up to here a flat search takes a few milliseconds on one core (384 wide)
_SPARING_ROWS = 500_000  # above, the vectors stay on the disk: a million of 384 numbers is 1.5 GB
TAIL_ROWS = 1024  # written before they are sealed; compared one by one in a tenth of a millisecond (384 wide)
_INDEX_AT = 4  # times the tail: so many rows may be without a structure
_SHAPE = re.compile(r"(?P<by>HNSW[1-9]\d?|IVF([1-9]\d*)?)?(,|^|$)(?P<code>FLAT|SQ8|PQ[1-9]\d*(X4FS)?|PQ)?$")
_ALIASES = {"HNSW": "HNSW32", "INT8": BYTES, "SQ8": BYTES, "PQ": CODES}
_ROWS_A_LIST = 16  # fewer, and a number of lists that was asked for waits until there are more rows
_DEAD_SHARE = 0.2
_DEAD_ROWS = 64  # fewer are never worth building anew


def checked_kind(kind: str) -> str:
    """Return "auto", "flat" or a FAISS factory string; ConfigError for anything else.

    "IVF" without a number takes lists by the size of each segment, "PQ" without one takes parts of 2 dimensions.
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
    return FLAT if rows <= (flat_rows if now == FLAT else flat_rows // 2) else CODES


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
        code = f"PQ{dimensions // 2 if dimensions % 2 == 0 else dimensions}x4fs"
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


def is_sparing(factory_string: str, *, rows: int) -> bool:
    """Say whether a segment should leave its vectors on the disk but for those that are compared again."""
    small = factory_string.rpartition(",")[2].startswith("SQ")  # who asks for bytes asks for little memory
    return is_rounded(factory_string) and (small or rows > _SPARING_ROWS)


@cache
def candidates(factory_string: str, *, dimensions: int) -> int:
    """Return how many times `k` rows of a rounding structure are compared again, so that hardly one is lost.

    Measured on 100,000 rows: of codes of 4 bits for 2 numbers 8 times `k` lose 0.2 % of the neighbours, for 4 numbers
    16 times lose 0.5 %.
    """
    code = factory_string.rpartition(",")[2]
    if not code.startswith("PQ"):
        return 2 if code.startswith("SQ") else 1
    parts, _, short = code[2:].partition("x")
    return max(8, 4 * dimensions // int(parts)) if short else 8


def worth_building_anew(*, dead: int, total: int) -> bool:
    """Say whether so many rows are dead that searches suffer."""
    return dead > _DEAD_ROWS and dead > _DEAD_SHARE * total
