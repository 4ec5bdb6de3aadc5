"""Texts of a collection into vectors, and by workers into parts of an index."""

from __future__ import annotations

import logging
import math
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mercat.compute.batches import map_batches
from mercat.encoders.base import Encoder, Role, Vectors
from mercat.encoders.cache import unwrap
from mercat.encoders.spread import Spread, spread_of, texts_at_once
from mercat.indexes.base import Index, Joining, ShardWriter
from mercat.indexes.storage import SHARDS

Texts = Sequence[tuple[str, str]]  # (id, text)
_log = logging.getLogger(__name__)


def with_direction(encoder: Encoder, texts: Sequence[str], *, role: Role) -> tuple[list[int], Vectors]:
    """Encode the texts that are not blank. Return their positions and vectors, without those that came out as zero.

    The vectors have shape (positions, dimensions).
    """
    said = [position for position, text in enumerate(texts) if text.strip()]
    if not said:
        return [], np.empty((0, encoder.dimensions), dtype=np.float32)
    vectors = encoder.encode([texts[position] for position in said], role=role)
    has = np.asarray(np.any(vectors, axis=1), dtype=np.bool_)
    if not has.all():
        _log.warning(
            "%d of %d texts hold nothing that the encoder knows and are left out", int((~has).sum()), len(said)
        )
    return [position for position, one in zip(said, has.tolist(), strict=True) if one], vectors[has]


def rows_at_once(encoder: Encoder, usual: int) -> int:
    """Return how many rows to read before they are put in: a shard for each worker, where workers build them."""
    spread = spread_of(encoder)
    if spread and spread.shard_rows:
        return max(usual, spread.shard_rows * spread.workers)
    return texts_at_once(encoder, usual)


def put_in(encoder: Encoder, index: Index, texts: Texts, *, folder: Path, total: Callable[[], int]) -> set[str]:
    """Encode texts and put them into an index; return the ids of those that have a direction.

    Where the encoder's workers build shards and there are enough texts for one, they write them below `folder`, which
    all of them see; `total` says how many rows the index is to have in the end.
    """
    spread = spread_of(encoder)
    if spread and spread.shard_rows and len(texts) >= spread.shard_rows:
        if isinstance(index, Joining):
            return _in_shards(spread, index, texts, folder.resolve(), total())
        _log.warning("shard_rows rests: an index of this kind is built by one process: %s", index.info().backend)
    kept, vectors = with_direction(encoder, [text for _, text in texts], role="document")
    ids = [texts[position][0] for position in kept]
    if ids:
        index.upsert(ids, vectors)
    return set(ids)


def _in_shards(spread: Spread, index: Joining, texts: Texts, folder: Path, rows: int) -> set[str]:
    place = folder / f"{SHARDS}{secrets.token_hex(6)}"  # what is left of it is removed by the next save
    build = _Build(unwrap(spread.encoder), index.shard_writer(place, rows=rows))
    size = math.ceil(len(texts) / math.ceil(len(texts) / spread.shard_rows))
    parts = [texts[start : start + size] for start in range(0, len(texts), size)]
    try:
        built = list(map_batches(build, parts, batch_size=1, workers=spread.workers, backend=spread.on))
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    for shard, _ in built:
        if shard is not None:
            index.join(shard)
    return {each for _, ids in built for each in ids}


class _Build:
    """What a worker does with the texts of a shard; one that is lost is done again by another."""

    def __init__(self, encoder: Encoder, write: ShardWriter) -> None:
        self._encoder, self._write = encoder, write

    def __call__(self, parts: Sequence[Texts]) -> list[tuple[Path | None, list[str]]]:
        return [self._built(texts) for texts in parts]

    def _built(self, texts: Texts) -> tuple[Path | None, list[str]]:
        kept, vectors = with_direction(self._encoder, [text for _, text in texts], role="document")
        ids = [texts[position][0] for position in kept]
        return (self._write(ids, vectors) if ids else None), ids
