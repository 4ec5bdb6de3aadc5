"""Texts per second against sentence-transformers with the same weights, in the same run.

Rounds of ours and theirs take turns, so that a busy machine slows both; a ratio is the median over rounds.
`cpu_ratio` is that of CPU seconds, which other programs disturb less. Theirs runs with its documented defaults
(`SentenceTransformer(folder).encode(texts)`), ours with `Transformer(name).encode(texts)`. A set of texts is a row: a
run that was stopped goes on at the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from benchmarks.frame import Context, Missing

SUMMARY = "Encoding speed on short and long texts, and how near the vectors are"
NEEDS = ("banking77", "scifact")
TAKES = "3 minutes"

_MODEL = "all-MiniLM-L6-v2"
_ROUNDS = 15


def run(context: Context) -> None:
    models = cache(lambda: _models(context))  # loaded only if a row is to be measured
    digest = context.digest(*NEEDS)
    cosines: list[float] = []
    for name, texts in (("short", _short), ("long", _long)):
        row = context.row([name], lambda texts=texts: _measured(context, texts(context), *models()), digest=digest)
        _record(context, name, row)
        cosines += row["cosines"]
    from mercat.evaluation.bootstrap import interval

    mean = interval(cosines)
    context.record("mean_cosine", mean.value, low=mean.low, high=mean.high, n=mean.n)
    context.record("min_cosine", min(cosines), n=len(cosines))


def _models(context: Context) -> tuple[Any, Callable[..., Any], dict[str, Any]]:
    """Return ours, theirs and what they are."""
    from mercat.encoders.transformer import Transformer

    ours = Transformer(_MODEL)
    ours.warm_up()
    theirs, version = _sentence_transformer(str(ours.checkpoint.folder))
    told = {"backend": ours.info().backend, "dtype": ours.info().dtype, "note": ours.info().note}
    return ours.encode, theirs, {"encoder": told, "peer_version": version}


def _short(context: Context) -> list[str]:
    texts = [row["text"] for row in context.read("banking77") if row["split"] == "test"]
    return texts[: 64 if context.quick else 256]


def _long(context: Context) -> list[str]:
    texts = [f"{row['title']} {row['text']}" for row in context.read("scifact", "corpus.csv.gz")]
    return texts[: 8 if context.quick else 32]


def _measured(
    context: Context,
    texts: Sequence[str],
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    notes: dict[str, Any],
) -> dict[str, Any]:
    """Return wall and CPU seconds of each round, theirs and ours, and the cosine of each text."""
    one, other = ours(texts), theirs(texts)  # warm: allocators, caches
    rounds = [(_timed(theirs, texts), _timed(ours, texts)) for _ in range(2 if context.quick else _ROUNDS)]
    cosines = np.sum(one * other, axis=1) / np.linalg.norm(other, axis=1)
    return {"texts": len(texts), "rounds": rounds, "cosines": cosines.astype(float).tolist(), "notes": notes}


def _record(context: Context, name: str, row: dict[str, Any]) -> None:
    """Record speeds and their ratios."""
    for word, place in (("", 0), ("cpu_", 1)):
        ratios = [slow[place] / fast[place] for slow, fast in row["rounds"]]
        context.record_median(f"{name}.{word}ratio_to_sentence_transformers", ratios)
    for peer, side in (("", 1), ("sentence-transformers", 0)):
        context.record_median(
            f"{name}.texts_per_s", [row["texts"] / both[side][0] for both in row["rounds"]], peer=peer
        )
    for key, value in row["notes"].items():
        context.note(key, value)


def _timed(encode: Callable[..., Any], texts: Sequence[str]) -> tuple[float, float]:
    """Return wall and CPU seconds of this process, all threads."""
    started, used = time.perf_counter(), time.process_time()
    encode(texts)
    return time.perf_counter() - started, time.process_time() - used


def _sentence_transformer(folder: str) -> tuple[Callable[..., Any], str]:
    try:
        import sentence_transformers
    except ImportError as error:
        raise Missing("needs sentence-transformers as the denominator") from error
    model = sentence_transformers.SentenceTransformer(folder)
    return lambda texts: model.encode(list(texts), show_progress_bar=False), sentence_transformers.__version__
