"""Hybrid search on SciFact, CMRC 2018 and StackFAQ: each leg alone, reciprocal ranks, scores added, learned weights.

Learned weights are fitted on SciFact's training claims and CMRC's trial questions, and asked on test and dev. StackFAQ
has no parts, and is searched over the answers' text alone: weights are fitted on four fifths of its threads and asked
on the other fifth, in turn. The weights without labels (`plain`) were chosen on SciFact's training claims, CMRC's trial
questions and every second thread of StackFAQ, so there they are measured on the other threads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._learning import CHINESE, MINILM, encoder_of
from benchmarks.frame import Context

SUMMARY = "nDCG@10 of dense, keyword and hybrid search, English and Chinese"
NEEDS = ("scifact", "cmrc2018-retrieval", "stackfaq")
TAKES = "10 minutes"

DEPTH, K, FOLDS = 100, 10, 5
_QUICK = 60  # questions, and as many rows beside those that answer them


@dataclass(frozen=True, slots=True)
class Question:
    """`part` is "fit" or "test"; of StackFAQ the number of its thread."""

    text: str
    right: frozenset[str]
    part: str


def run(context: Context) -> None:
    for name, one in {"scifact": _scifact, "cmrc2018": _cmrc2018, "stackfaq": _stackfaq}.items():
        one(context, name)


def _scifact(context: Context, name: str) -> None:
    documents, questions = _read(context, "scifact", lambda row: "fit" if row["split"] == "train" else "test")
    fit, test = _parts(_asked(context, name, MINILM, documents, questions), questions)
    _record(context, name, test, _learned(fit, test), test)


def _cmrc2018(context: Context, name: str) -> None:
    data = "cmrc2018-retrieval"
    documents, questions = _read(context, data, lambda row: "fit" if row["split"] == "trial" else "test")
    fit, test = _parts(_asked(context, name, CHINESE, documents, questions), questions)
    found = _record(context, name, test, _learned(fit, test), test)
    _difference(context, f"{name}.ndcg10_minus_bm25", found["learned"], found["bm25"])


def _parts(asked: Sequence[Any], questions: Sequence[Question]) -> tuple[list[Any], list[Any]]:
    both = list(zip(asked, questions, strict=True))
    return [one for one, of in both if of.part == "fit"], [one for one, of in both if of.part == "test"]


def _stackfaq(context: Context, name: str) -> None:
    documents, questions = _read(context, "stackfaq", lambda row: row["thread_id"], title=False)
    asked = _asked(context, name, MINILM, documents, questions)
    number = {thread: at for at, thread in enumerate(sorted({question.part for question in questions}))}
    threads = [number[question.part] for question in questions]
    learned: dict[int, list[float]] = {}
    for fold in range(FOLDS):
        inside = [at for at, thread in enumerate(threads) if thread // 2 % FOLDS == fold]
        rest = [one for at, one in enumerate(asked) if at not in set(inside)]
        learned |= dict(zip(inside, _learned(rest, [asked[at] for at in inside]), strict=True))
    others = [one for one, thread in zip(asked, threads, strict=True) if thread % 2]
    found = _record(context, name, asked, [learned[at] for at in range(len(asked))], others)
    best = max(("dense", "bm25"), key=lambda leg: sum(found[leg]))
    _difference(context, f"{name}.ndcg10_minus_best_leg", found["learned"], found[best])
    best_of_others = [value for value, thread in zip(found[best], threads, strict=True) if thread % 2]
    _difference(context, f"{name}.plain.ndcg10_minus_best_leg", found["plain"], best_of_others)


def _read(
    context: Context, name: str, part: Callable[[dict[str, str]], str], *, title: bool = True
) -> tuple[list[Any], list[Question]]:
    from mercat.values import Document

    right: dict[str, set[str]] = {}
    for row in context.read(name, "qrels.csv.gz"):
        right.setdefault(row["query_id"], set()).add(row["doc_id"])
    rows = [row for row in context.read(name, "queries.csv.gz") if row["query_id"] in right]
    if context.quick:
        rows = rows[:: max(len(rows) // _QUICK, 1)]
    questions = [Question(row["text"], frozenset(right[row["query_id"]]), part(row)) for row in rows]
    corpus = context.read(name, "corpus.csv.gz")
    if context.quick:
        wanted = set().union(*(question.right for question in questions))
        corpus = [row for at, row in enumerate(corpus) if row["doc_id"] in wanted or at < _QUICK]
    documents = [Document(row["doc_id"], row["text"], title=row["title"] if title else "") for row in corpus]
    return documents, questions


def _asked(
    context: Context, name: str, model: str, documents: Sequence[Any], questions: Sequence[Question]
) -> list[Any]:
    """Return what dense and keyword search alone find for each question."""
    from mercat.retrieval.fusion import Table
    from mercat.training.fusing.weights import Asked
    from mercat.values import Hit

    folders = {"scifact": "scifact", "cmrc2018": "cmrc2018-retrieval", "stackfaq": "stackfaq"}
    texts = [question.text for question in questions]
    make = partial(_found, encoder_of(context, model), documents, texts)
    found = context.row([name, model, DEPTH], make, digest=context.digest(folders[name]))
    asked = []
    for question, legs in zip(questions, found, strict=True):
        hits = [[Hit(key, score) for key, score in leg] for leg in legs]
        ids = [[key for key, _ in leg] for leg in legs]
        asked.append(Asked(Table.of(hits, asked=DEPTH), question.right, ids))
    return asked


def _found(encoder: Any, documents: Sequence[Any], texts: Sequence[str]) -> list[list[list[tuple[str, float]]]]:
    from mercat.indexes.exact import Exact
    from mercat.retrieval.hybrid import Hybrid
    from mercat.store import Store

    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{folder}/mercat.db") as store:
        store.upsert(list(documents), collection="rows")
        hybrid = Hybrid(encoder, Exact(Path(folder), "rows"), store, collection="rows")
        hybrid.refresh()
        asked = hybrid.legs_many(texts, k=DEPTH)
    return [[[(hit.id, hit.score) for hit in leg] for leg in legs] for legs in asked]


def _learned(fit: Sequence[Any], test: Sequence[Any]) -> list[list[float]]:
    """Return the gains of the test questions under the weights that are best for the others."""
    from mercat.training.fusing.weights import fit_weights

    weights = fit_weights(fit, k=K)
    return [one.gains(weights) for one in test]


def _record(
    context: Context, name: str, asked: Sequence[Any], learned: Sequence[Sequence[float]], unseen: Sequence[Any]
) -> dict[str, list[float]]:
    """Record nDCG@10 of each way; return it per question. `unseen` are those that the plain weights may be asked."""
    from mercat.evaluation.bootstrap import interval
    from mercat.evaluation.ranking import ndcg
    from mercat.retrieval.fusion import reciprocal_rank_fusion
    from mercat.retrieval.hybrid import WEIGHTS

    ways = {
        "learned": (asked, learned),
        "plain": (unseen, [one.gains(WEIGHTS) for one in unseen]),
        "rrf": (asked, [[float(key in one.right) for key, _ in reciprocal_rank_fusion(one.legs)] for one in asked]),
        "dense": (asked, [one.leg_gains(0) for one in asked]),
        "bm25": (asked, [one.leg_gains(1) for one in asked]),
    }
    found = {}
    for way, (of, gains) in ways.items():
        found[way] = ndcg(gains, [[1.0] * len(one.right) for one in of], k=K)
        metric = interval(found[way])
        label = f"{name}.ndcg10" if way == "learned" else f"{name}.{way}.ndcg10"
        context.record(label, metric.value, low=metric.low, high=metric.high, n=metric.n)
    return found


def _difference(context: Context, name: str, ours: Sequence[float], theirs: Sequence[float]) -> None:
    from mercat.evaluation.bootstrap import paired

    metric = paired(ours, theirs)
    context.record(name, metric.value, low=metric.low, high=metric.high, n=metric.n)
