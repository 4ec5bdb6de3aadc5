"""The embedded vector index against FAISS as it is: what the layer costs and finds, deletes, a million rows, churn.

Overhead is over the very structure that the index built, asked through FAISS itself with the same parameters.
`time_ratio_at_recall097` is over the quickest of several raw FAISS indexes, over several efforts each, that finds at
least as much as ours; both answer calls of 100 questions on one thread. Deletes are durable: 1,000 ids and a save.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._apart import apart
from benchmarks._vectors import STATED, WIDTH, K, drawn, each_timed, library, names, neighbours, recall, timed
from benchmarks.frame import Context, Missing, median

SUMMARY = "The vector index: overhead over FAISS, recall and time, deletes, a million rows, churn"
NEEDS: tuple[str, ...] = ()
TAKES = "35 minutes"

_ROUNDS = 15
_BATCH = 100
_RAW: dict[str, tuple[int, ...]] = {
    "HNSW16": (64, 128, 256),
    "HNSW32": (16, 32, 64, 128, 256),
    "IVF1024,Flat": (16, 32, 64, 128, 256),
    "IVF1024,SQ8,RFlat": (16, 32, 64, 128, 256),
    "IVF1024,PQ96x4fs,RFlat": (64, 128, 256, 384),
    "IVF1024,PQ192x4fs,RFlat": (64, 128, 192, 256, 384),
}
_AGAIN = (4, 8, 16)  # times as many rows as asked for are compared again, by an index that does


def run(context: Context) -> None:
    library()
    context.note("vectors", STATED)
    rows = 6000 if context.quick else 100_000
    _layer(context, context.row(["layer"], lambda: _measured_layer(rows, 2 if context.quick else _ROUNDS)))
    ours = context.row(["ours"], lambda: _measured_ours(rows))
    raw = {kind: context.row(["raw", kind], partial(_measured_raw, kind, rows)) for kind in _RAW}
    _at_recall(context, ours, raw)
    context.record("deletes_per_s", context.row(["deletes"], lambda: _deletes(rows))["per_s"])
    churned = context.row(["churn"], lambda: _churned(rows))
    context.record("churn50.recall_loss", churned["fresh"] - churned["churned"], n=1000)
    context.record("churn50.recall", churned["churned"], n=1000)
    million = context.row(["million"], lambda: _million(20_000 if context.quick else 1_000_000))
    for name in ("open_s", "memory_mb", "ms_a_question", "recall", "build_s", "disk_mb"):
        context.record(f"million.{name}", million[name])
    if context.peers:
        _peers(context, rows)


def _layer(context: Context, row: dict[str, Any]) -> None:
    for name in ("batch100", "single"):
        ratios = [ours / raw for ours, raw in row[name]]
        context.record_median(f"{name}.overhead_ratio", ratios)
        context.record_median(f"{name}.ms", [1000 * ours for ours, _ in row[name]])
    context.note("kind", row["note"])


def _measured_layer(rows: int, rounds: int) -> dict[str, Any]:
    """Return, for each round, seconds of ours and of raw FAISS: per call of 100, and the median of single calls."""
    from mercat.indexes.kinds import candidates

    faiss = library()
    with tempfile.TemporaryDirectory(prefix="mercat-index-") as name:
        index = _filled(Path(name), drawn(rows))
        structure, k = index.snapshot.views[0].segment.structure, K
        queries = drawn(_BATCH * (rounds + 1), part=1)
        parameters = faiss.SearchParametersIVF(nprobe=structure._effort.lists(k, 1.0))
        raw = structure._index
        if structure.rounded:  # FAISS's own index that compares again, over the same codes and the same vectors
            raw = faiss.IndexRefineFlat(
                structure._index, faiss.swig_ptr(index.snapshot.views[0].segment.originals.rows)
            )
            times = candidates(structure.kind, dimensions=WIDTH)
            parameters = faiss.IndexRefineSearchParameters(k_factor=times, base_index_params=parameters)
        found: dict[str, Any] = {"batch100": [], "single": [], "note": index.info().note}
        for number in range(rounds + 1):
            asked = queries[number * _BATCH :][:_BATCH]
            ours = partial(index.search, k=k)
            theirs = partial(raw.search, k=k, params=parameters)
            turns = [(timed(partial(ours, asked)), timed(partial(theirs, asked))) for _ in range(3)]
            alone = [median(each_timed(act, asked)) for act in (ours, theirs)]
            if number:
                found["batch100"].append([min(one) for one in zip(*turns, strict=True)])
                found["single"].append(alone)
        return found


def _measured_ours(rows: int) -> dict[str, Any]:
    vectors, queries = drawn(rows), drawn(1000, part=1)
    true = neighbours(vectors, queries)
    with tempfile.TemporaryDirectory(prefix="mercat-index-") as name:
        index = _filled(Path(name), vectors)
        found = [[int(key.rpartition("-")[2]) for key in one.ids] for one in index.search(queries, K)]
        return {"recall": recall(found, true), "s": _seconds(partial(index.search, k=K), queries)}


def _measured_raw(kind: str, rows: int) -> list[dict[str, Any]]:
    """Build a raw index on all cores, and return recall and seconds per effort on one thread."""
    faiss = library()
    vectors, queries = drawn(rows), drawn(1000, part=1)
    true = neighbours(vectors, queries)
    if kind.startswith("IVF") and rows < 40_000:
        kind = kind.replace("1024", "128")
    index = faiss.index_factory(WIDTH, kind, faiss.METRIC_INNER_PRODUCT)
    faiss.omp_set_num_threads(faiss.omp_get_max_threads())
    index.train(vectors)
    index.add(vectors)
    library()
    space, found = faiss.ParameterSpace(), []
    for effort in _RAW[kind.replace("IVF128", "IVF1024")]:
        space.set_index_parameter(index, "efSearch" if kind.startswith("HNSW") else "nprobe", effort)
        for times in _AGAIN if kind.endswith("RFlat") else (1,):
            if times > 1:
                index.k_factor = times
            found.append(
                {
                    "effort": f"{effort}, {times} times k" if times > 1 else effort,
                    "recall": recall(index.search(queries, K)[1].tolist(), true.tolist()),
                    "s": _seconds(lambda asked: index.search(asked, K), queries),
                }
            )
    return found


def _seconds(search: Any, queries: Any) -> float:
    """Return the median seconds of a call of 100 questions."""
    calls = [queries[start : start + _BATCH] for start in range(0, len(queries), _BATCH)]
    search(calls[0])
    return median([timed(lambda asked=asked: search(asked)) for _ in range(3) for asked in calls])


def _at_recall(context: Context, ours: dict[str, Any], raw: dict[str, list[dict[str, Any]]]) -> None:
    context.record("recall10", ours["recall"], n=1000)
    context.record("batch100.ms_at_recall", 1000 * ours["s"])
    asked = max(0.97, ours["recall"] - 0.001)
    enough = [
        (one["s"], f"{kind} {one['effort']}") for kind, all_ in raw.items() for one in all_ if one["recall"] >= asked
    ]
    if ours["recall"] < 0.97 or not enough:
        context.note("time_ratio_at_recall097", "not measured: fewer than 0.97 of the neighbours were found")
        return
    seconds, best = min(enough)
    context.record("time_ratio_at_recall097", ours["s"] / seconds)
    context.note("quickest_raw", f"{best}, {1000 * seconds:.2f} ms for 100 questions")


def _deletes(rows: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="mercat-index-") as name:
        index = _filled(Path(name), drawn(rows))
        ids = np.random.default_rng(1).permutation(names(rows)).tolist()
        calls = [ids[start : start + 1000] for start in range(0, min(rows // 10, 10_000), 1000)]

        def delete(call: Sequence[str]) -> None:
            index.delete(call)
            index.save(Path(name))

        delete(["document-nobody"])  # the table of ids is made
        seconds = [timed(partial(delete, call)) for call in calls]
        return {"per_s": sum(map(len, calls)) / sum(seconds)}


def _churned(rows: int) -> dict[str, Any]:
    """Replace half of the rows in calls of 1,000, and compare with an index built at once of what is there then."""
    old, new, queries = drawn(rows), drawn(rows // 2, part=2), drawn(1000, part=1)
    gone = np.random.default_rng(3).permutation(rows)[: rows // 2]
    kept = np.setdiff1d(np.arange(rows), gone)
    vectors, ids = np.vstack([old[kept], new]), [*(f"document-{row}" for row in kept), *names(len(new), start=rows)]
    number = {key: place for place, key in enumerate(ids)}
    true = neighbours(vectors, queries).tolist()
    found = {}
    with tempfile.TemporaryDirectory(prefix="mercat-index-") as name:
        for which in ("churned", "fresh"):
            folder = Path(name) / which
            if which == "churned":
                index = _filled(folder, old)
                for start in range(0, len(gone), 1000):
                    index.delete([f"document-{row}" for row in gone[start : start + 1000]])
                    some = new[start : start + 1000]
                    index.upsert(names(len(some), start=rows + start), some)
                    index.save(folder)
                index.settle()
            else:
                index = _filled(folder, vectors, ids)
            found[which] = recall([[number[key] for key in one.ids] for one in index.search(queries, K)], true)
    return found


def _million(rows: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="mercat-index-") as name:
        built = apart(_build_million, name, rows)
        opened = apart(_open_million, name, rows)
        return {**built, **opened}


def _build_million(name: str, rows: int) -> dict[str, Any]:
    index = _opened(Path(name), kind="int8")

    def build() -> None:
        for start in range(0, rows, 100_000):
            count = min(100_000, rows - start)
            index.upsert(names(count, start=start), drawn(count, part=100 + start))
        index.save(Path(name))

    seconds = timed(build)
    return {"build_s": seconds, "disk_mb": sum(path.stat().st_size for path in Path(name).rglob("*")) / 1e6}


def _open_million(name: str, rows: int) -> dict[str, Any]:
    """Return seconds to open with nothing loaded but Python, the memory after questions, and what they find."""
    library()
    before: list[Any] = []
    seconds = timed(lambda: before.append(_opened(Path(name), kind="int8")))
    index, queries = before[0], drawn(1100, part=1)[:100]
    index.search(queries, K)
    per_question = median(each_timed(partial(index.search, k=K), queries))
    memory = _resident_mb()
    best = np.full((len(queries), 0), 0, dtype=np.int64)
    scores = np.empty((len(queries), 0), dtype=np.float32)
    for start in range(0, rows, 100_000):
        block = drawn(min(100_000, rows - start), part=100 + start)
        near = neighbours(block, queries)
        scores = np.hstack([scores, np.take_along_axis(queries @ block.T, near, axis=1)])
        best = np.hstack([best, near + start])
    true = np.take_along_axis(best, np.argsort(-scores, axis=1)[:, :K], axis=1).tolist()
    found = [[int(key.rpartition("-")[2]) for key in one.ids] for one in index.search(queries, K)]
    return {
        "open_s": seconds,
        "memory_mb": memory,
        "ms_a_question": 1000 * per_question,
        "recall": recall(found, true),
    }


def _resident_mb() -> float:
    import psutil

    return float(psutil.Process().memory_info().rss / 1e6)


def _opened(folder: Path, **options: Any) -> Any:
    from mercat.indexes.faiss import open_faiss

    return open_faiss(folder, dimensions=WIDTH, fingerprint="drawn", device="cpu", **options)


def _filled(folder: Path, vectors: Any, ids: Sequence[str] = ()) -> Any:
    """Return a saved index of kind `auto`, or lists where rows are too few for it to take them."""
    index = _opened(folder, kind="auto" if len(vectors) > 20_000 else "pq")
    index.upsert(ids or names(len(vectors)), vectors)
    index.save(folder)
    return _opened(folder, kind="auto" if len(vectors) > 20_000 else "pq")


def _peers(context: Context, rows: int) -> None:
    """Measure what requirements-index.txt names on the same rows, one thread, calls of 100."""
    for name, search in (("hnswlib", _hnswlib), ("usearch", _usearch)):
        try:
            for effort, found in context.row(["peer", name], partial(search, rows)).items():
                context.record(f"ef{effort}.recall10", found["recall"], peer=name)
                context.record(f"ef{effort}.batch100.ms", 1000 * found["s"], peer=name)
        except (ImportError, Missing) as error:
            context.note(f"{name}.left_out", str(error))


def _hnswlib(rows: int) -> dict[str, Any]:
    import hnswlib

    vectors, queries = drawn(rows), drawn(1000, part=1)
    true, found = neighbours(vectors, queries).tolist(), {}
    index = hnswlib.Index(space="ip", dim=WIDTH)
    index.init_index(max_elements=rows, M=16, ef_construction=100)
    index.add_items(vectors)
    index.set_num_threads(1)
    for effort in (32, 64, 128):
        index.set_ef(effort)
        labels = index.knn_query(queries, K)[0].tolist()
        found[str(effort)] = {
            "recall": recall(labels, true),
            "s": _seconds(lambda asked: index.knn_query(asked, K), queries),
        }
    return found


def _usearch(rows: int) -> dict[str, Any]:
    from usearch.index import Index

    vectors, queries = drawn(rows), drawn(1000, part=1)
    true, found = neighbours(vectors, queries).tolist(), {}
    index = Index(ndim=WIDTH, metric="ip", dtype="f32", connectivity=16)
    index.add(np.arange(rows), vectors)
    for effort in (32, 64, 128):
        index.expansion_search = effort
        labels = index.search(queries, K, threads=1).keys.tolist()
        found[str(effort)] = {
            "recall": recall(labels, true),
            "s": _seconds(lambda asked: index.search(asked, K, threads=1), queries),
        }
    return found
