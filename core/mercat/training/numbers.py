"""Rows whose label is a number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mercat.errors import DataError
from mercat.values import Example


def numbers_of(rows: Sequence[Example]) -> NDArray[np.float32]:
    """Return the labels of rows as numbers, shape (rows,). Raises DataError for one that is none."""
    return np.array([_number(row) for row in rows], dtype=np.float32)


def require_spread(numbers: NDArray[np.float32], collection: str) -> None:
    """Raise DataError where all numbers to learn from are the same."""
    if len(numbers) and float(numbers.min()) == float(numbers.max()):
        found = f"All {len(numbers)} labels of its train part are {float(numbers[0]):g}"
        raise DataError(f"Numbers that differ are needed in the collection '{collection}'", found, "more labelled rows")


def _number(row: Example) -> float:
    try:
        found = float(row.label)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        label = f"Row '{row.id}' has the label '{row.label[:40]}'"
        raise DataError("Labels have to be numbers, such as 3.5", label, "mercat ingest, with another column as label")
    return found
