"""Near-duplicates: MinHash finds who may be alike, exact Jaccard over shingles says who is.

Broder 1997, "On the resemblance and containment of documents"; banding after Leskovec et al., "Mining of Massive
Datasets", chapter 3.
"""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mercat.text.normalise import normalise

Unit = Literal["word", "char"]
Signatures = NDArray[np.uint32]

_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|\w+")  # each Chinese character counts as a word
_PRIME = np.uint64(2**31 - 1)
_BATCH = 20_000  # shingles hashed at once


def shingles(text: str, *, unit: Unit = "word", length: int = 3) -> frozenset[str]:
    """Return the set of runs of `length` words or characters; a shorter text is one shingle, an empty one none.

    Case, punctuation and the width of characters do not count.
    """
    words = _TOKEN.findall(normalise(text).lower())
    if unit == "word":
        parts, joint = words, " "
    else:
        parts, joint = list(" ".join(words)), ""
    if len(parts) <= length:
        return frozenset((joint.join(parts),)) if parts else frozenset()
    return frozenset(joint.join(parts[i : i + length]) for i in range(len(parts) - length + 1))


def jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    """Return the size of what both share over the size of what either has; 0 when both are empty."""
    return len(left & right) / len(left | right) if left or right else 0.0


def signatures(sets: Sequence[frozenset[str]], *, permutations: int = 128, seed: int = 0) -> Signatures:
    """Return MinHash signatures, shape (len(sets), permutations). The share of equal columns estimates Jaccard."""
    rng = np.random.default_rng(seed)
    factors = rng.integers(1, 2**31 - 1, size=permutations, dtype=np.uint64)
    shifts = rng.integers(0, 2**31 - 1, size=permutations, dtype=np.uint64)
    found = np.full((len(sets), permutations), np.iinfo(np.uint32).max, dtype=np.uint32)
    for rows, starts, hashes in _hashed(sets):
        mixed = (hashes[:, None] * factors + shifts) % _PRIME
        found[rows] = np.minimum.reduceat(mixed, starts, axis=0).astype(np.uint32)
    return found


def near_duplicates(
    texts: Sequence[str],
    *,
    threshold: float = 0.8,
    unit: Unit = "word",
    parts: Sequence[str] | None = None,
    seed: int = 0,
) -> list[tuple[int, int, float]]:
    """Return (i, j, Jaccard) with i < j for pairs at or above `threshold`, in order.

    `parts` names a part per text; then only pairs of two different parts are returned. Every pair returned is checked
    exactly; a pair at the threshold is missed with a chance below 1 in 100, one above it with less.
    """
    sets = [shingles(text, unit=unit) for text in texts]
    found = []
    for i, j in sorted(_candidates(signatures(sets, seed=seed), sets, threshold, parts)):
        likeness = jaccard(sets[i], sets[j])
        if likeness >= threshold:
            found.append((i, j, likeness))
    return found


def _hashed(
    sets: Sequence[frozenset[str]],
) -> Iterator[tuple[list[int], list[int], NDArray[np.uint64]]]:
    """Yield (rows, where each row's hashes start, hashes) in batches; empty sets are left out."""
    rows: list[int] = []
    starts: list[int] = []
    hashes: list[int] = []
    for row, members in enumerate(sets):
        if not members:
            continue
        rows.append(row)
        starts.append(len(hashes))
        hashes += [zlib.crc32(member.encode()) % (2**31 - 1) for member in members]
        if len(hashes) >= _BATCH:
            yield rows, starts, np.array(hashes, dtype=np.uint64)
            rows, starts, hashes = [], [], []
    if rows:
        yield rows, starts, np.array(hashes, dtype=np.uint64)


def _candidates(
    found: Signatures, sets: Sequence[frozenset[str]], threshold: float, parts: Sequence[str] | None
) -> set[tuple[int, int]]:
    """Return pairs that share a band of their signatures."""
    height = _band_height(found.shape[1], threshold)
    pairs: set[tuple[int, int]] = set()
    for band in range(0, found.shape[1] - height + 1, height):
        buckets: defaultdict[bytes, list[int]] = defaultdict(list)
        for row, members in enumerate(sets):
            if members:
                buckets[found[row, band : band + height].tobytes()].append(row)
        for rows in buckets.values():
            pairs.update(_pairs(rows, parts))
    return pairs


def _pairs(rows: list[int], parts: Sequence[str] | None) -> Iterator[tuple[int, int]]:
    for place, i in enumerate(rows):
        for j in rows[place + 1 :]:
            if parts is None or parts[i] != parts[j]:
                yield i, j


def _band_height(permutations: int, threshold: float) -> int:
    """Return the tallest band that still finds a pair at the threshold with a chance of 0.99."""
    for height in range(permutations, 1, -1):
        if 1 - (1 - threshold**height) ** (permutations // height) >= 0.99:
            return height
    return 1
