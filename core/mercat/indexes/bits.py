"""Sets of row numbers as packed bits, one per row, the lowest bit first: as FAISS takes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mercat.indexes.scan import RowNumbers

Bits = NDArray[np.uint8]


def every(total: int) -> Bits:
    """Return the bits of all rows below `total`."""
    return np.packbits(np.ones(total, dtype=np.uint8), bitorder="little")


def packed(mask: NDArray[np.bool_]) -> Bits:
    return np.packbits(mask, bitorder="little")


def of_rows(rows: RowNumbers, total: int) -> Bits:
    """Return bits for `total` rows, those of `rows` set."""
    mask = np.zeros(total, dtype=np.bool_)
    mask[rows] = True
    return packed(mask)


def without(bits: Bits, rows: RowNumbers) -> Bits:
    """Return a copy in which `rows` are not set."""
    left = bits.copy()
    np.bitwise_and.at(left, rows >> 3, np.invert(np.left_shift(1, rows & 7).astype(np.uint8)))
    return left


def has(bits: Bits, rows: RowNumbers) -> NDArray[np.bool_]:
    """Say for each of `rows` whether it is set. The shape is (rows,)."""
    return np.asarray((bits[rows >> 3] >> (rows & 7).astype(np.uint8)) & 1, dtype=np.bool_)


def count(bits: Bits) -> int:
    return int(np.count_nonzero(np.unpackbits(bits)))


def rows_of(bits: Bits, total: int) -> RowNumbers:
    """Return the rows that are set, in order."""
    return np.flatnonzero(np.unpackbits(bits, count=total, bitorder="little"))
