"""Cutting a call into batches of like length, so that little is computed for nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ids = Sequence[int]
_MANY = 16  # with so many batches for each lane, one more or less at the end is no matter


def plan(lengths: Sequence[int], *, budget: int, lanes: int = 1, least: int = 256) -> list[list[int]]:
    """Return the positions of all rows in batches of at most `budget` tokens, padding included, longest first.

    With several lanes the budget shrinks, down to `least` tokens, until each lane has work, and a few batches are cut
    so that all lanes end at about the same time. A row that is longer than the budget is a batch of its own.
    """
    fair = -(-sum(lengths) // max(1, lanes))
    budget = max(min(budget, fair), min(least, budget))
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    batches = _fill(order, lengths, budget)
    if lanes > 1 and 1 < len(batches) < _MANY * lanes:
        return _even(order, lengths, budget, -(-len(batches) // lanes) * lanes)
    return batches


def _even(order: Sequence[int], lengths: Sequence[int], budget: int, most: int) -> list[list[int]]:
    """Return at most so many batches by the smallest budget that is enough for them, which makes them most alike."""
    low, high = 0, budget  # the first is too small for any text, the second is enough
    while high - low > 1:
        middle = (low + high) // 2
        if len(_fill(order, lengths, middle)) <= most:
            high = middle
        else:
            low = middle
    return _fill(order, lengths, high)


def _fill(order: Sequence[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    batches: list[list[int]] = []
    width = 0
    for row in order:
        if not batches or (len(batches[-1]) + 1) * width > budget:
            batches.append([])
            width = max(1, lengths[row])
        batches[-1].append(row)
    return batches


def pad(rows: Sequence[Ids], *, pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return token ids and attention mask, both of shape (len(rows), longest row)."""
    width = max(map(len, rows), default=0)
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    return ids, mask


def runs(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Return (rows, length) for each run of neighbours of equal length."""
    found: list[tuple[int, int]] = []
    for length in lengths:
        if found and found[-1][1] == length:
            found[-1] = (found[-1][0] + 1, length)
        else:
            found.append((1, length))
    return found
