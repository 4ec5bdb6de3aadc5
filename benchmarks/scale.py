"""The formulas of `mercat.indexes.sizes` against indexes that were built: memory, disk, time to build and to answer.

Memory and disk have no constant that was fitted. Times have one per kind, fitted at that kind's smallest size (its
`rate`); the other sizes say whether the formula grows as the index does. All times are CPU seconds of one thread, so
that a busy machine spoils them less. How many lists a search looks into is measured by the index when it is built.
"""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._apart import apart
from benchmarks._vectors import STATED, WIDTH, K, drawn, library, names, neighbours, recall
from benchmarks.frame import Context, median

SUMMARY = "Memory, disk, build time and latency of each kind of index against the formulas of docs/scale.md"
NEEDS: tuple[str, ...] = ()
TAKES = "10 minutes"

_SIZES = (20_000, 50_000, 100_000, 200_000)
_GRAPH_SIZES = (5_000, 10_000, 20_000, 40_000)  # a graph of 200,000 takes a core half an hour
KINDS: Mapping[str, tuple[int, ...]] = {
    "flat": _SIZES,
    "IVF": _SIZES,
    "IVF,SQ8": _SIZES,
    "IVF,PQ": _SIZES,
    "HNSW32": _GRAPH_SIZES,
}
_QUESTIONS = 200
_ID_BYTES = len(names(1, start=100_000)[0])


def run(context: Context) -> None:
    library()
    context.note("vectors", STATED)
    context.note("times", "CPU seconds of one thread; the constants are fitted at the smallest size of each kind")
    for kind, sizes in KINDS.items():
        rows = [count // 10 for count in sizes[:2]] if context.quick else sizes
        found = [context.row([kind, count], partial(_measured, kind, count)) for count in rows]
        _record(context, kind.replace(",", "+").lower(), found)


def _record(context: Context, name: str, found: list[dict[str, Any]]) -> None:
    """Keep what was measured and its ratio to what the formulas say, with the constants that the first size gives."""
    first = _Formula(found[0])
    rates = {"build": first.build() / found[0]["build_s"], "answer": first.answer() / (found[0]["answer_s"] - _CALL_S)}
    for measured in found:
        formula, at = _Formula(measured), f"{name}.{measured['rows'] // 1000}k"
        context.record(f"{at}.bytes_per_vector", measured["memory"] / measured["rows"])
        context.record(f"{at}.memory_ratio", measured["memory"] / formula.size.memory_bytes)
        context.record(f"{at}.disk_ratio", measured["disk"] / formula.size.disk_bytes)
        context.record(f"{at}.build_cpu_s", measured["build_s"])
        context.record(f"{at}.ms", 1000 * measured["answer_s"], n=_QUESTIONS)
        context.record(f"{at}.recall10", measured["recall"], n=_QUESTIONS)
        if measured is not found[0]:
            context.record(f"{at}.build_ratio", measured["build_s"] * rates["build"] / formula.build())
            predicted = _CALL_S + formula.answer() / rates["answer"]
            context.record(f"{at}.ms_ratio", measured["answer_s"] / predicted)
    context.note(name, {"structure": [each["structure"] for each in found], "lists": [each["lists"] for each in found]})


_CALL_S = 5e-5
"""Of a search, whatever the size; `Rates.call_s`."""


class _Formula:
    """What the formulas say of an index that was measured, at a rate of 1 per second."""

    def __init__(self, measured: Mapping[str, Any]) -> None:
        from mercat.indexes import sizes

        self._sizes, self._rows = sizes, int(measured["rows"])
        self._structure, self._lists = measured["structure"], measured["lists"]
        self.size = sizes.size(self._structure, self._rows, WIDTH, id_bytes=_ID_BYTES)
        self._rates = dataclasses.replace(sizes.Rates(), call_s=1e-12)

    def build(self) -> float:
        return self._sizes.build_s(self._structure, self._rows, WIDTH, self._rates)

    def answer(self) -> float:
        return self._sizes.answer_s(self._structure, self._rows, WIDTH, self._rates, looked_into=self._lists, k=K)


def _measured(kind: str, rows: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="mercat-scale-") as name:
        built = apart(_built, kind, rows, Path(name))
        return {**built, **apart(_asked, kind, rows, Path(name)), "rows": rows}


def _built(kind: str, rows: int, folder: Path) -> dict[str, Any]:
    """Build an index of one segment, as a worker builds a shard; return seconds, bytes on the disk, structure."""
    from mercat.indexes.faiss import merging, saving
    from mercat.indexes.faiss.segments import View

    library()
    index, vectors = _opened(kind, folder), drawn(rows)
    started = time.process_time()
    segment = merging.sealed(names(rows), vectors, build=index.build, kind=kind, smallest=0)
    seconds = time.process_time() - started
    index.take_over([View.whole(segment)], kind)
    saving.save(index, folder)
    disk = sum(path.stat().st_size for path in folder.rglob(f"{segment.name}.*"))
    return {"build_s": seconds, "disk": disk, "structure": segment.kind}


def _asked(kind: str, rows: int, folder: Path) -> dict[str, Any]:
    """Open it in a process of its own; return CPU seconds of a question, memory, lists looked into and recall."""
    library()
    questions = drawn(_QUESTIONS, part=1)
    true = neighbours(drawn(rows), questions).tolist()
    with tempfile.TemporaryDirectory() as small:  # what a first search takes is not the index's
        _built(kind, 2000, Path(small))
        first = _opened(kind, Path(small))
        first.search(questions, K)
        del first
    before = _resident_bytes()
    index = _opened(kind, folder)
    found = [[int(key.rpartition("-")[2]) for key in one.ids] for one in index.search(questions, K)]
    _read_all(index, questions[:1])
    memory = _resident_bytes() - before
    seconds = [_seconds(index, question) for question in questions[:, None, :]]
    return {
        "answer_s": median(seconds),
        "memory": memory,
        "lists": _lists(index, kind),
        "recall": recall(found, true),
    }


def _seconds(index: Any, question: Any) -> float:
    started = time.thread_time()
    index.search(question, K)
    return time.thread_time() - started


def _read_all(index: Any, question: Any) -> None:
    """Let one question look at every row, and read the ids: what is mapped is then in memory."""
    faiss = library()
    for view in index.snapshot.views:
        structure, rows = view.segment.structure, len(view.segment)
        if structure is not None:
            graph = structure.kind.startswith("HNSW")
            widest = faiss.SearchParametersHNSW(efSearch=rows) if graph else faiss.SearchParametersIVF(nprobe=rows)
            structure._index.search(question, K, params=widest)
        view.segment.names.at(np.arange(0, rows, 64).tolist())


def _lists(index: Any, kind: str) -> int:
    from mercat.indexes.faiss.searching import _candidates

    structure = index.snapshot.views[0].segment.structure
    effort = getattr(structure, "_effort", None)
    return effort.lists(K * _candidates(structure.kind), 1.0) if effort else 0


def _opened(kind: str, folder: Path) -> Any:
    from mercat.indexes.faiss import open_faiss

    return open_faiss(folder, dimensions=WIDTH, fingerprint="scale", kind=kind, device="cpu")


def _resident_bytes() -> int:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed is given back, or it would count against what comes
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) * 1024
