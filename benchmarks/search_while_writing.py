"""Four readers that ask without a pause, alone and beside a writer that puts in 500 rows a second.

The writer makes 50 calls of ten rows a second, half of them new and half in the place of others, and saves once a
second; segments are sealed and merged meanwhile. Rounds of both kinds take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._vectors import STATED, WIDTH, K, drawn, library, names
from benchmarks.frame import Context

SUMMARY = "Time of searches by 4 readers beside 500 upserts a second, against the readers alone"
NEEDS: tuple[str, ...] = ()
TAKES = "5 minutes"

_READERS, _CALLS_A_SECOND, _ROWS_A_CALL = 4, 50, 10


def run(context: Context) -> None:
    library()
    context.note("vectors", STATED)
    rows, rounds, seconds = (6000, 1, 2.0) if context.quick else (100_000, 5, 15.0)
    row = context.row(["readers"], lambda: _measured(rows, rounds, seconds))
    for at in (50, 99):
        for kind in ("idle", "writing"):
            context.record_median(f"{kind}.p{at}_ms", [1000 * one[f"p{at}"] for one in row[kind]])
        pairs = zip(row["writing"], row["idle"], strict=True)
        context.record_median(f"p{at}_ratio_to_idle", [busy[f"p{at}"] / idle[f"p{at}"] for busy, idle in pairs])
    context.record_median("writing.upserts_per_s", [one["per_s"] for one in row["writing"]])
    context.note("at the end", row["note"])


def _measured(rows: int, rounds: int, seconds: float) -> dict[str, Any]:
    from mercat.indexes.faiss import open_faiss

    found: dict[str, Any] = {"idle": [], "writing": []}
    with tempfile.TemporaryDirectory(prefix="mercat-writing-") as name:
        kind = "auto" if rows > 20_000 else "IVF"
        index = open_faiss(Path(name), dimensions=WIDTH, fingerprint="drawn", device="cpu", kind=kind)
        index.upsert(names(rows), drawn(rows))
        index.save(Path(name))
        for number in range(rounds + 1):
            idle = _round(index, seconds)
            writing = _round(index, seconds, folder=Path(name), rows=rows, number=number)
            index.settle()
            if number or rounds == 1:
                found["idle"].append(idle)
                found["writing"].append(writing)
        found["note"] = index.info().note
    return found


def _round(
    index: Any, seconds: float, *, folder: Path | None = None, rows: int = 0, number: int = 0
) -> dict[str, float]:
    """Return percentiles of the searches of all readers, and upserts a second, over some seconds."""
    queries = drawn(500, part=1)
    new = drawn(round((seconds + 1) * _CALLS_A_SECOND * _ROWS_A_CALL), part=10 + number)
    end = time.perf_counter() + seconds
    taken: list[list[float]] = [[] for _ in range(_READERS)]
    threads = [
        threading.Thread(target=_read, args=(index, queries[100 * place :], end, taken[place]))
        for place in range(_READERS)
    ]
    for thread in threads:
        thread.start()
    written = 0
    if folder is not None:
        written = _write(index, folder, new, rows=rows, number=number, end=end)
    for thread in threads:
        thread.join()
    every = np.concatenate(taken)
    return {"p50": np.percentile(every, 50).item(), "p99": np.percentile(every, 99).item(), "per_s": written / seconds}


def _read(index: Any, queries: Any, end: float, taken: list[float]) -> None:
    library()  # one thread: the number is that of the thread that sets it
    while time.perf_counter() < end:
        for query in queries[:50, None, :]:
            started = time.perf_counter()
            index.search(query, K)
            taken.append(time.perf_counter() - started)


def _write(index: Any, folder: Path, new: Any, *, rows: int, number: int, end: float) -> int:
    """Write at a steady pace; a call that is late is followed at once by the next."""
    draw, calls = np.random.default_rng(number), 0
    due = time.perf_counter()
    while (now := time.perf_counter()) < end:
        if now < due:
            time.sleep(min(due - now, end - now))
            continue
        start = calls * _ROWS_A_CALL
        half = _ROWS_A_CALL // 2
        ids = [
            *(f"document-{row}" for row in draw.integers(0, rows, half)),
            *names(half, start=rows * (number + 2) + start),
        ]
        index.upsert(ids, new[start : start + _ROWS_A_CALL])
        calls += 1
        due += 1 / _CALLS_A_SECOND
        if calls % _CALLS_A_SECOND == 0:
            index.save(folder)
    return calls * _ROWS_A_CALL
