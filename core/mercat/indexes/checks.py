"""What every index refuses, in one place, so that all backends refuse the same with the same words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mercat.errors import DataError
from mercat.indexes.base import Vectors

_UNIT_TOLERANCE = 1e-5  # vectors nearer to length 1 than this stay bit for bit what they were


def unit_vectors(vectors: Vectors, dimensions: int, *, what: str) -> Vectors:
    """Return `vectors` as float32 of shape (n, dimensions), each row of length 1; DataError if that cannot be."""
    array = np.ascontiguousarray(vectors, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != dimensions:
        cure = f"vectors of the encoder that the index is for: shape (rows, {dimensions})"
        raise DataError(f"{what} takes vectors of {dimensions} dimensions", f"The shape is {array.shape}", cure)
    squares = np.einsum("ij,ij->i", array, array, dtype=np.float64)
    if np.abs(squares - 1).max(initial=0) <= _UNIT_TOLERANCE:  # as encoders give them; NaN is not
        return array
    lengths = np.sqrt(squares)
    bad = ~(np.isfinite(lengths) & (lengths > 0))
    if bad.any():
        _refuse(array, bad, what)
    if np.abs(lengths - 1).max(initial=0) > _UNIT_TOLERANCE:
        array = (array / lengths[:, None]).astype(np.float32)
    return array


def last_of_each(ids: Sequence[str], vectors: Vectors) -> tuple[list[str], Vectors]:
    """Keep one row per id: the last one counts, as if the rows had come one by one.

    The vectors have shape (ids kept, dimensions). Raises DataError for ids that are empty or do not fit the vectors.
    """
    if len(ids) != len(vectors):
        found = f"{len(ids)} ids came with {len(vectors)} vectors"
        raise DataError("An index takes one id per vector", found, "ids and vectors of equal length")
    if not all(isinstance(key, str) and key for key in ids):
        raise DataError("The ids of an index are non-empty strings", "At least one is not", "str(id) of each row")
    last = {key: position for position, key in enumerate(ids)}
    if len(last) == len(ids):
        return list(ids), vectors
    return list(last), vectors[list(last.values())]


def positive(k: int) -> int:
    """Return `k`, or raise DataError if it asks for nothing."""
    if k < 1:
        raise DataError("A search takes k of 1 or more", f"k is {k}", "k = 10")
    return k


def _refuse(array: Vectors, bad: np.ndarray[tuple[int], np.dtype[np.bool_]], what: str) -> None:
    first = int(np.flatnonzero(bad)[0])
    kind = "only zeros" if not array[first].any() else "NaN, infinite or too large numbers"
    raise DataError(
        f"{what} takes vectors with a direction",
        f"{int(bad.sum())} of {len(array)} have none: row {first} holds {kind}",
        "check the texts that were encoded: an empty text has no direction",
    )
