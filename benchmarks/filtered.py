"""Searches among a share of the rows: what is found, and how long it takes against comparing with all allowed rows.

Filters are drawn at random, several per share; each is asked once before the clock runs, for an index finds out once
which of its rows a filter allows (`shareN.first_ms`). One thread, one question a call. `exact` is what is quicker of
copying the allowed rows and comparing with them, and FAISS's flat search with a bitmap, in the same run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._vectors import STATED, WIDTH, K, drawn, each_timed, library, names, neighbours, recall, timed
from benchmarks.frame import Context, Missing, median

SUMMARY = "Filtered search at shares of 0.1 to 100 %: recall and time against exact and unfiltered search"
NEEDS: tuple[str, ...] = ()
TAKES = "15 minutes"

SHARES = (0.001, 0.01, 0.1, 0.5, 1.0)
_FILTERS = 4


def run(context: Context) -> None:
    library()
    context.note("vectors", STATED)
    rows, asked = (6000, 40) if context.quick else (100_000, 250)
    kinds = ("auto", "HNSW32") if not context.quick else ("IVF",)
    found = {kind: context.row(["ours", kind], partial(_measured, kind, rows, asked)) for kind in kinds}
    unfiltered = context.row(["hnsw"], partial(_hnsw, rows, asked))
    for kind, shares in found.items():
        _record(context, shares, unfiltered, "" if kind == kinds[0] else f"{kind.lower()}.")
    context.record("unfiltered_hnsw.p50_ms", 1000 * unfiltered["p50"])
    context.record("unfiltered_hnsw.recall10", unfiltered["recall"])
    if context.peers:
        _peers(context, rows, asked)


def _record(context: Context, shares: dict[str, dict[str, Any]], hnsw: dict[str, Any], prefix: str) -> None:
    for name, one in shares.items():
        label = f"{prefix}share{name}"
        context.record(f"{label}.recall10", one["recall"], n=one["n"])
        for measure in ("p50", "p99", "exact_p50", "exact_p99", "first"):
            context.record(f"{label}.{measure}_ms", 1000 * one[measure], n=one["n"])
        context.record(f"{label}.p99_ratio_to_exact", one["p99"] / one["exact_p99"])
        context.record(f"{label}.p50_ratio_to_exact", one["p50"] / one["exact_p50"])
        context.record(f"{label}.answers_with_fewer", one["fewer"])
    context.record(f"{prefix}min_recall10", min(one["recall"] for one in shares.values()))
    context.record(f"{prefix}p99_ratio_to_exact", max(one["p99"] / one["exact_p99"] for one in shares.values()))
    context.record(f"{prefix}share50.p50_ratio_to_unfiltered_hnsw", shares["50"]["p50"] / hnsw["p50"])


def _measured(kind: str, rows: int, asked: int) -> dict[str, dict[str, Any]]:
    from mercat.indexes.faiss import open_faiss

    vectors, queries = drawn(rows), drawn(asked, part=1)
    with tempfile.TemporaryDirectory(prefix="mercat-filtered-") as name:
        options = {"dimensions": WIDTH, "fingerprint": "drawn", "device": "cpu", "kind": kind}
        index = open_faiss(Path(name), **options)
        index.upsert(names(rows), vectors)
        index.save(Path(name))
        index = open_faiss(Path(name), **options)
        return {f"{100 * share:g}": _share(index, vectors, queries, share) for share in SHARES}


def _share(index: Any, vectors: Any, queries: Any, share: float) -> dict[str, Any]:
    found: list[Any] = []
    true: list[Any] = []
    ours: list[float] = []
    exact: list[float] = []
    first: list[float] = []
    part = max(1, len(queries) // _FILTERS)
    for number in range(_FILTERS):
        draw, count = np.random.default_rng([number, 5]), max(K, round(share * len(vectors)))
        rows = np.sort(draw.permutation(len(vectors))[:count])
        allowed, some = frozenset(f"document-{row}" for row in rows), queries[number * part :][:part]
        search = partial(index.search, k=K, allowed=allowed)
        first.append(timed(partial(search, some[:1])))
        search(some)
        quickest = _exact(vectors, rows, some)
        ours += each_timed(search, some)
        exact += each_timed(quickest, some)
        answers = search(some)
        found += [[int(key.rpartition("-")[2]) for key in one.ids] for one in answers]
        true += rows[neighbours(vectors[rows], some)].tolist()
        assert all(one.eligible == len(rows) and set(one.ids) <= allowed for one in answers)
    return {
        "recall": recall(found, true),
        "fewer": sum(len(one) < K for one in found),
        "n": len(ours),
        "first": median(first),
        **{f"p{at}": float(np.percentile(ours, at)) for at in (50, 99)},
        **{f"exact_p{at}": float(np.percentile(exact, at)) for at in (50, 99)},
    }


def _exact(vectors: Any, rows: Any, some: Any) -> Callable[[Any], Any]:
    """Return the quicker of two exact searches of the allowed rows, tried on some questions."""
    faiss = library()
    flat = faiss.IndexFlatIP(WIDTH)
    flat.add(vectors)
    mask = np.zeros(len(vectors), dtype=np.bool_)
    mask[rows] = True
    bits = np.packbits(mask, bitorder="little")

    def copied(query: Any) -> Any:
        return faiss.knn(query, vectors[rows], K, metric=faiss.METRIC_INNER_PRODUCT)

    def passed_over(query: Any) -> Any:
        return flat.search(query, K, params=faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits)))

    return min((copied, passed_over), key=lambda act: median(each_timed(act, some[:8])))


def _hnsw(rows: int, asked: int) -> dict[str, Any]:
    """Return the median of raw unfiltered HNSW32 at efSearch 64, and its recall."""
    faiss = library()
    vectors, queries = drawn(rows), drawn(asked, part=1)
    index = faiss.index_factory(WIDTH, "HNSW32", faiss.METRIC_INNER_PRODUCT)
    faiss.omp_set_num_threads(2)
    index.add(vectors)
    library()
    index.hnsw.efSearch = 64
    seconds = each_timed(lambda query: index.search(query, K), queries)
    found = index.search(queries, K)[1].tolist()
    return {"p50": median(seconds), "recall": recall(found, neighbours(vectors, queries).tolist())}


def _peers(context: Context, rows: int, asked: int) -> None:
    """Measure what `requirements-filtered.txt` names, each with a column that says whether a row is allowed."""
    for name, make in (("lancedb", _lancedb), ("qdrant-local", _qdrant), ("sqlite-vec", _sqlite_vec)):
        try:
            for share, one in context.row(["peer", name], partial(_peer, make, rows, min(asked, 60))).items():
                for measure in ("p50", "p99"):
                    context.record(f"share{share}.{measure}_ms", 1000 * one[measure], peer=name)
                context.record(f"share{share}.recall10", one["recall"], peer=name)
        except (ImportError, Missing) as error:
            context.note(f"{name}.left_out", str(error))


def _peer(make: Callable[..., Any], rows: int, asked: int) -> dict[str, Any]:
    """Every row has one column per share, 1 for the rows that its filter allows."""
    vectors, queries = drawn(rows), drawn(asked, part=1)
    draw = np.random.default_rng(5)
    marks = {f"s{place}": (draw.random(rows) < share).astype(int) for place, share in enumerate(SHARES)}
    found = {}
    with tempfile.TemporaryDirectory(prefix="mercat-filtered-") as folder:
        search = make(folder, vectors, marks)
        for place, share in enumerate(SHARES):
            allowed = np.flatnonzero(marks[f"s{place}"])
            answers: list[Any] = []
            seconds = [timed(lambda q=query: answers.append(search(q, f"s{place}"))) for query in queries]  # noqa: B023
            true = allowed[neighbours(vectors[allowed], queries)].tolist()
            found[f"{100 * share:g}"] = {
                "recall": recall(answers, true),
                **{f"p{at}": float(np.percentile(seconds, at)) for at in (50, 99)},
            }
    return found


def _lancedb(folder: str, vectors: Any, marks: dict[str, Any]) -> Callable[[Any, str], list[int]]:
    import lancedb
    import pyarrow

    width = pyarrow.list_(pyarrow.float32(), WIDTH)
    columns = {"id": np.arange(len(vectors)), "vector": pyarrow.array(list(vectors), width), **marks}
    table = lancedb.connect(folder).create_table("rows", pyarrow.table(columns))
    table.create_index(metric="dot", vector_column_name="vector")

    def search(query: Any, mark: str) -> list[int]:
        asked = table.search(query).metric("dot").where(f"{mark} = 1", prefilter=True).nprobes(20).refine_factor(10)
        return [row["id"] for row in asked.limit(K).to_list()]

    return search


def _qdrant(folder: str, vectors: Any, marks: dict[str, Any]) -> Callable[[Any, str], list[int]]:
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    client.create_collection("rows", models.VectorParams(size=WIDTH, distance=models.Distance.DOT))
    payloads = [{key: int(column[row]) for key, column in marks.items()} for row in range(len(vectors))]
    client.upload_collection("rows", vectors, payloads, ids=range(len(vectors)))

    def search(query: Any, mark: str) -> list[int]:
        only = models.Filter(must=[models.FieldCondition(key=mark, match=models.MatchValue(value=1))])
        return [point.id for point in client.query_points("rows", query.tolist(), query_filter=only, limit=K).points]

    return search


def _sqlite_vec(folder: str, vectors: Any, marks: dict[str, Any]) -> Callable[[Any, str], list[int]]:
    import sqlite3

    import sqlite_vec

    database = sqlite3.connect(f"{folder}/rows.db")
    if not hasattr(database, "enable_load_extension"):
        raise Missing("the sqlite3 of this Python loads no extensions")
    database.enable_load_extension(True)
    sqlite_vec.load(database)
    columns = ", ".join(f"{key} integer" for key in marks)
    database.execute(f"create virtual table rows using vec0(id integer primary key, v float[{WIDTH}], {columns})")
    places = ", ".join("?" * (2 + len(marks)))
    kept = list(marks.values())
    database.executemany(
        f"insert into rows values ({places})",
        ((row, vectors[row].tobytes(), *(int(column[row]) for column in kept)) for row in range(len(vectors))),
    )
    database.commit()

    def search(query: Any, mark: str) -> list[int]:
        asked = f"select id from rows where v match ? and k = {K} and {mark} = 1 order by distance"
        return [row for (row,) in database.execute(asked, (query.tobytes(),))]  # of unit vectors: the same order

    return search
