"""A process that writes an index until it is killed, and what has to be there afterwards.

    python -m mercat.testing.crash FOLDER [--backend faiss] [--seed 0] [--die-at 7]

Every change is drawn from the seed and its number, so what the index holds after n changes is known without having
watched. The process prints "begin n" before change n and "done n" when its save has returned. With `--die-at` it kills
itself at that call, counted from 1, of those that touch the disk, and says which in "at NAME".
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mercat.indexes import open_index
from mercat.indexes.base import Index, Vectors

DIMENSIONS, FINGERPRINT = 32, "crash@1"
OPTIONS: dict[str, Any] = {"kind": "IVF", "device": "cpu", "tail_rows": 64}
_IDS = 600


def change(seed: int, number: int) -> tuple[list[str], Vectors | None]:
    """Return change `number`: ids with vectors of shape (ids, dimensions) to put in, or without to take out."""
    draw = np.random.default_rng([seed, number])
    kind = draw.random()
    count = int(draw.integers(1, 40)) if kind < 0.9 else 150
    ids = [f"r{row}" for row in draw.choice(_IDS, count, replace=False)]
    if kind < 0.25:
        return ids, None
    vectors = draw.standard_normal((count, DIMENSIONS)).astype(np.float32)
    return ids, np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def expected(seed: int, changes: int) -> dict[str, Vectors]:
    """Return what an index holds after so many changes: the vector of each id, shape (dimensions,)."""
    rows: dict[str, Vectors] = {}
    for number in range(1, changes + 1):
        ids, vectors = change(seed, number)
        for place, key in enumerate(ids):
            if vectors is None:
                rows.pop(key, None)
            else:
                rows[key] = vectors[place]
    return rows


def opened(folder: Path, backend: str = "faiss") -> Index:
    """Open the index of a writer."""
    options = OPTIONS if backend == "faiss" else {}
    return open_index(backend, folder, dimensions=DIMENSIONS, fingerprint=FINGERPRINT, **options)


def problem(folder: Path, *, seed: int, confirmed: int, backend: str = "faiss") -> str:
    """Say what is wrong with the index that a killed writer left, whose last confirmed save was `confirmed`; or ""."""
    try:
        index = opened(folder, backend)
    except Exception as error:
        return f"it does not open: {error}"
    if index.sequence not in (confirmed, confirmed + 1):
        return f"it stands at change {index.sequence}, and {confirmed} was confirmed"
    there = {key: row for ids, rows in index.export() for key, row in zip(ids, rows, strict=True)}
    should = expected(seed, index.sequence)
    if there.keys() != should.keys():
        return f"{len(there.keys() ^ should.keys())} ids are lost or too many"
    wrong = [key for key, row in should.items() if not np.allclose(there[key], row, atol=1e-6)]
    return f"{len(wrong)} rows hold another vector" if wrong else ""


def main(words: list[str] | None = None) -> None:
    """Write until killed."""
    parser = argparse.ArgumentParser(prog="python -m mercat.testing.crash", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backend", default="faiss")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--die-at", type=int, default=0)
    asked = parser.parse_args(words)
    index = opened(asked.folder, asked.backend)
    _say(f"ready {index.sequence}")
    if asked.die_at:
        _die_at(asked.die_at)
    while True:
        number = index.sequence + 1
        _say(f"begin {number} {'merging' if getattr(index, 'merging', False) else ''}".rstrip())
        ids, vectors = change(asked.seed, number)
        if vectors is None:
            index.delete(ids)
        else:
            index.upsert(ids, vectors)
        index.sequence = number
        index.save(asked.folder)
        _say(f"done {number}")


def _die_at(calls: int) -> None:
    """Kill this process at call number `calls` of those that touch the disk; half of a write is done before."""
    seen = 0

    def step(name: str, path: Any) -> bool:
        nonlocal seen
        seen += 1
        if seen == calls:
            _say(f"at {name} {_sort_of(path)}")
        return seen == calls

    def breaking(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def call(*given: Any, **named: Any) -> Any:
            if step(name, given[0] if given else ""):
                _half(name, real, given)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given, **named)

        setattr(owner, name, call)

    for owner, names in ((os, ("fsync", "write", "link")), (tempfile, ("mkdtemp",))):
        for name in names:
            breaking(owner, name)
    for name in ("rename", "replace", "write_text", "write_bytes"):
        breaking(Path, name)


def _half(name: str, real: Callable[..., Any], given: tuple[Any, ...]) -> None:
    if name in ("write", "write_text", "write_bytes"):
        real(given[0], given[1][: len(given[1]) // 2])


def _sort_of(path: Any) -> str:
    """Name a file by its ending, so that the same step of two saves is one step."""
    if isinstance(path, int):
        path = Path(f"/proc/self/fd/{path}").readlink() if Path("/proc/self/fd").is_dir() else ""
    name = Path(str(path)).name
    return "version" if name.isdigit() or name.startswith(".building-") else Path(name).suffix or name


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
