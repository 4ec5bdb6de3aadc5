"""A loaded encoder: weights, tokenizer and the threads that run them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from mercat.compute.threads import cores
from mercat.encoders.backends import Choice
from mercat.encoders.base import Vectors
from mercat.encoders.batching import Ids, plan
from mercat.encoders.checkpoint import Checkpoint


class Running:
    """Runs batches of token ids, on a CPU as many at a time as there are cores."""

    def __init__(
        self, choice: Choice, checkpoint: Checkpoint, *, tokenizer: Any, pooling: str, batch_tokens: int
    ) -> None:
        on_cpu = choice.device.name == "cpu"
        self.tokenizer = tokenizer
        self.lanes = cores() if on_cpu else 1
        self.batch_tokens = batch_tokens or (1024 if on_cpu else 65536)
        self.body = choice.body(checkpoint, pooling=pooling, lanes=self.lanes)
        self._pool = None
        if self.lanes > 1:
            self._pool = _threads(self.lanes) if choice.exported else _single_threaded_pool(self.lanes)

    def run(self, batches: Sequence[Sequence[Ids]]) -> list[Vectors]:
        """Run each batch; on a CPU each on one thread of its own, because waiting for one another costs most.

        Each result has the shape (rows, dimensions).
        """
        if self._pool is None or len(batches) == 1:
            return [self.body.vectors(batch) for batch in batches]
        return list(self._pool.map(self.body.vectors, batches))

    def run_rows(self, rows: Sequence[Ids]) -> Vectors:
        """Return one unit vector per row of token ids, in their order: shape (rows, dimensions)."""
        batches = plan([len(row) for row in rows], budget=self.batch_tokens, lanes=self.lanes)
        parts = self.run([[rows[row] for row in batch] for batch in batches])
        found = np.empty((len(rows), parts[0].shape[1]), dtype=np.float32)
        for batch, vectors in zip(batches, parts, strict=True):
            found[batch] = vectors
        return found

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def _threads(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="mercat-encode")


def _single_threaded_pool(threads: int) -> ThreadPoolExecutor:
    """Return threads in which torch computes on one core each; other threads keep their setting."""
    import torch

    before = torch.get_num_threads()
    ready = threading.Barrier(threads + 1)

    def start() -> None:
        torch.set_num_threads(1)
        ready.wait()

    pool = _threads(threads)
    for _ in range(threads):
        pool.submit(start)
    ready.wait()
    torch.set_num_threads(before)  # the setting is per thread, but also the default of threads yet to come
    return pool
