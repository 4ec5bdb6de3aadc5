"""The processes that compute together: which of them this one is, and the few things that they tell one another.

One process alone is a `World` of size 1, in which every exchange gives back what was put in. Several are started by
`mercat.compute.fit`, by torchrun or by Ray, and find one another by the variables that torchrun sets: RANK, WORLD_SIZE,
LOCAL_RANK, MASTER_ADDR, MASTER_PORT.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mercat.compute.device import Device, choose_device
from mercat.compute.threads import share
from mercat.errors import ConfigError, WorkerLost, missing_extra

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
_PATIENCE = timedelta(days=1)  # one process may work alone for long; that one has ended is noticed at once


class Left(Exception):
    """Raised by `World.leave_to_first`: the part of this process is done. No error."""


class World:
    """One process alone. `rank` counts the processes from 0, `local_rank` those of this machine."""

    def __init__(self, *, rank: int = 0, size: int = 1, local_rank: int = 0) -> None:
        self.rank, self.size, self.local_rank = rank, size, local_rank

    def __repr__(self) -> str:
        return f"{type(self).__name__}(rank={self.rank}, size={self.size})"

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes, shows and decides."""
        return self.rank == 0

    def share(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this process's rows of a batch, shape (at most rows / size, rounded up,); maybe none."""
        return rows[self.rank :: self.size]

    def device(self, wanted: str = "auto") -> Device:
        """Return what `choose_device` says, each process of a machine having a CUDA device of its own.

        Raises ConfigError where the machine has fewer of them than processes.
        """
        chosen = choose_device(wanted)
        if self.size == 1 or not chosen.name.startswith("cuda") or ":" in wanted:
            return chosen
        return choose_device(f"cuda:{self.local_rank}")

    def add(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return the sums over all processes, in place, of a tensor that has the same shape in each."""
        return numbers

    def spread(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return the first process's numbers, in place, in a tensor that has the same shape in each."""
        return numbers

    def told(self, value: T) -> T:
        """Return the value that the first process gave, as JSON keeps it; what the others give counts for nothing."""
        return value

    def agreed(self, value: Any) -> bool:
        """Return, in every process, whether all of them gave the same value, which JSON can write."""
        return True

    def leave_to_first(self) -> None:
        """End the part of every process but the first by raising Left: what follows is done once."""
        if not self.first:
            raise Left


ALONE = World()


class Group(World):
    """The processes of torch's default group. A call is made by all of them, or none returns.

    Raises WorkerLost when another one has ended.
    """

    def __init__(self) -> None:
        import torch.distributed as group

        self._group: Any = group
        local = int(os.environ.get("LOCAL_RANK", "0"))
        super().__init__(rank=group.get_rank(), size=group.get_world_size(), local_rank=local)

    def add(self, numbers: torch.Tensor) -> torch.Tensor:
        with self._together():
            self._group.all_reduce(numbers)
        return numbers

    def spread(self, numbers: torch.Tensor) -> torch.Tensor:
        with self._together():
            self._group.broadcast(numbers, src=0)
        return numbers

    def told(self, value: T) -> T:
        import torch

        written = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        size = self.spread(torch.tensor(len(written)))
        found = self.spread(written if self.first else torch.empty(int(size), dtype=torch.uint8))
        told: T = json.loads(bytes(found.tolist()))
        return told

    def agreed(self, value: Any) -> bool:
        import torch

        other = json.dumps(self.told(value)) != json.dumps(value)
        return int(self.add(torch.tensor(int(other)))) == 0

    @contextmanager
    def _together(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # what the libraries below raise has no type of its own
            raise WorkerLost(
                f"{self.size} processes compute together, and process {self.rank} waits for the others",
                f"One of them has ended: {str(error).splitlines()[0]}",
                "the same command again: it goes on from the last checkpoint",
            ) from error


@contextmanager
def joined() -> Iterator[World]:
    """Join the processes that this one was started with, for the block; alone where it was started by itself.

    Each takes its share of this machine's cores. Raises ConfigError for variables that name no place to meet, and
    MissingExtra without torch.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size < 2:
        yield ALONE
        return
    try:
        import torch
        import torch.distributed as group
    except ImportError as error:
        raise missing_extra("Training by several processes", "torch", "train") from error
    torch.set_num_threads(share(int(os.environ.get("LOCAL_WORLD_SIZE", size))))
    if group.is_initialized():  # by Ray
        yield Group()
        return
    if missing := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise ConfigError(
            f"WORLD_SIZE = {size} says that {size} processes train together",
            f"{', '.join(missing)} are not set",
            f"torchrun --nproc-per-node {size} -m mercat train, or unset WORLD_SIZE",
        )
    gpu = torch.cuda.is_available() and group.is_nccl_available()
    group.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=_PATIENCE)
    try:
        yield Group()
    finally:
        group.destroy_process_group()
