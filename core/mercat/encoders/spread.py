"""Many texts encoded by several workers at once, on this machine or on Ray; few of them by the encoder here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from mercat.compute.batches import map_batches
from mercat.encoders.base import Encoder, EncoderInfo, Role, Vectors
from mercat.encoders.cache import Cached, unwrap
from mercat.errors import ConfigError

Place = Literal["processes", "ray"]
_BATCH = 256  # texts that a worker takes at a time


class Spread:
    """Encodes as the section `encoder` does, by several workers where there are many texts in one call.

    Each worker loads the weights once per call, which pays from `at_least` texts on; fewer are encoded here. Indexes
    and recipes hand over up to `at_once` texts in a call. `on`: "processes" of this machine, which is for a machine
    with several GPUs, since an encoder on the CPU takes all cores by itself; or "ray", where Ray places the workers and
    replaces one that is lost. With `shard_rows` the workers also build a FAISS index, in parts of so many rows; with
    0 the process that asks does it. The vectors and the fingerprint are the encoder's own. Raises ConfigError for sizes
    below 1 and for an encoder that cannot be sent to another process.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        workers: int = 2,
        on: Place = "processes",
        at_least: int = 2000,
        at_once: int = 50_000,
        shard_rows: int = 0,
    ) -> None:
        for name, found, least in (
            ("workers", workers, 1),
            ("at_least", at_least, 1),
            ("at_once", at_once, 1),
            ("shard_rows", shard_rows, 0),
        ):
            if found < least:
                raise ConfigError(f"{name} = {found}", f"It is at least {least}", f"{name} = {least + 1}")
        if on not in ("processes", "ray"):
            raise ConfigError(f"on = '{on}'", "Known: processes, ray", "on = 'ray'")
        if not getattr(unwrap(encoder), "portable", False):
            raise ConfigError(
                "An encoder of use = 'spread' is sent to other processes",
                f"'{type(unwrap(encoder)).__name__}' cannot be",
                "use = 'transformer' in the section that it names",
            )
        self.encoder, self.workers, self.on, self.at_least, self.at_once = encoder, workers, on, at_least, at_once
        self.shard_rows = shard_rows
        self.cache_mb = 0  # the encoder inside remembers what it encodes

    @property
    def fingerprint(self) -> str:
        return self.encoder.fingerprint

    @property
    def dimensions(self) -> int:
        return self.encoder.dimensions

    def warm_up(self) -> None:
        self.encoder.warm_up()

    def encode(self, texts: Sequence[str], *, role: Role = "document") -> Vectors:
        """Return shape (len(texts), dimensions), float32, in the order of the texts.

        Raises WorkerLost for a process that was killed; on Ray another one takes over.
        """
        if len(texts) < self.at_least:
            return self.encoder.encode(texts, role=role)
        found = np.empty((len(texts), self.dimensions), dtype=np.float32)
        encode = _Encode(unwrap(self.encoder), role)
        vectors = map_batches(encode, texts, batch_size=_BATCH, workers=self.workers, backend=self.on)
        for row, vector in enumerate(vectors):
            found[row] = vector
        return found

    def info(self) -> EncoderInfo:
        info = self.encoder.info()
        how = f"from {self.at_least} texts on by {self.workers} workers ({self.on})"
        return dataclasses.replace(info, note=f"{info.note}; {how}" if info.note else how)


def texts_at_once(encoder: Encoder, usual: int) -> int:
    """Return how many texts an encoder should be handed in one call, where `usual` is what others are."""
    spread = spread_of(encoder)
    return max(usual, spread.at_once) if spread else usual


def spread_of(encoder: Encoder) -> Spread | None:
    """Return the encoder that works by several workers, out of what remembers for it; None for another one."""
    while isinstance(encoder, Cached):
        encoder = encoder.encoder
    return encoder if isinstance(encoder, Spread) else None


class _Encode:
    """What a worker does with a batch."""

    def __init__(self, encoder: Encoder, role: Role) -> None:
        self._encoder, self._role = encoder, role

    def __call__(self, texts: Sequence[str]) -> list[Vectors]:
        return list(self._encoder.encode(texts, role=self._role))
