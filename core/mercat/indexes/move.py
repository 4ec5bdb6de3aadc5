"""Copy one index into another, of whatever backend."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mercat.errors import FingerprintError
from mercat.indexes.base import Index, Vectors

Progress = Callable[[int, int], None]  # (done, total) rows


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move did to the target."""

    upserted: int
    unchanged: int
    deleted: int
    sequence: int


def move(
    source: Index,
    target: Index,
    *,
    progress: Progress | None = None,
    batch: int = 1000,
    save: Callable[[], None] | None = None,
    save_every: int = 100_000,
) -> Moved:
    """Make `target` hold what `source` holds; run again, it changes nothing. The caller saves the target at the end.

    A target whose sequence is the source's, with as many rows, holds it all and is not read. `save` is called after
    each `save_every` rows that were written, with the sequence that the target had: what was killed goes on from there,
    and nobody takes the part for the whole. What is written to the source meanwhile may be missed; the target's
    sequence is the source's from before the move, so that a refresh takes it in again. FingerprintError if they hold
    vectors of different encoders.
    """
    _same_space(source, target)
    sequence, total = source.sequence, len(source)
    if sequence and target.sequence == sequence and len(target) == total:
        return Moved(0, total, 0, sequence)
    unsaved = 0
    there = {key: mark for ids, vectors in target.export(batch=batch) for key, mark in _marks(ids, vectors)}
    upserted = unchanged = 0
    for ids, vectors in source.export(batch=batch):
        new = [row for row, (key, mark) in enumerate(_marks(ids, vectors)) if there.pop(key, None) != mark]
        if new:
            target.upsert([ids[row] for row in new], vectors[new])
            unsaved += len(new)
            if save and unsaved >= save_every:
                save()
                unsaved = 0
        upserted += len(new)
        unchanged += len(ids) - len(new)
        if progress:
            progress(upserted + unchanged, total)
    deleted = target.delete(list(there)) if there else 0
    target.sequence = sequence
    return Moved(upserted, unchanged, deleted, sequence)


def _same_space(source: Index, target: Index) -> None:
    a, b = source.info(), target.info()
    if (a.fingerprint, a.dimensions) != (b.fingerprint, b.dimensions):
        raise FingerprintError(
            f"Moving an index of {a.fingerprint} ({a.dimensions} wide)",
            f"The target is of {b.fingerprint} ({b.dimensions} wide)",
            "open the target with the source's encoder",
        )


def _marks(ids: Sequence[str], vectors: Vectors) -> list[tuple[str, bytes]]:
    """Pair each id with a digest of its vector: small enough to keep for every row of a large index."""
    return [
        (key, hashlib.blake2b(row.tobytes(), digest_size=12).digest()) for key, row in zip(ids, vectors, strict=True)
    ]
