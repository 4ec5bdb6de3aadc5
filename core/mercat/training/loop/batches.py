"""Token ids in batches of like length, in an order that seed and epoch alone decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

_POOL = 50  # so many batches are sorted by length together: little padding, still well mixed


@dataclass(frozen=True, slots=True)
class Encoded:
    """Texts as token ids, with the number of each text's label."""

    ids: Sequence[Sequence[int]]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


def epoch_batches(lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Return the row numbers of each batch of an epoch: rows of like length together, batches shuffled.

    The same seed and epoch give the same order on every machine, so a resumed run needs no stored order. Each batch has
    shape (rows,).
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    sizes = np.asarray(lengths, dtype=np.int64)
    found = []
    for start in range(0, len(order), batch_size * _POOL):
        pool = order[start : start + batch_size * _POOL]
        pool = pool[np.argsort(sizes[pool], kind="stable")]
        found += [pool[at : at + batch_size] for at in range(0, len(pool), batch_size)]
    return [found[number] for number in random.permutation(len(found))]


def length_batches(lengths: Sequence[int], batch_size: int) -> list[NDArray[np.int64]]:
    """Return row numbers in batches of like length, for scoring. Each has shape (rows of the batch,)."""
    order = np.argsort(np.asarray(lengths, dtype=np.int64), kind="stable")
    return [order[at : at + batch_size] for at in range(0, len(order), batch_size)]


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (input ids, attention mask), each of shape (rows, longest row), int64."""
    import torch

    width = max(len(row) for row in rows)
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)
