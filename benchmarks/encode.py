"""Texts per second against sentence-transformers with the same weights, in the same run.

Rounds of ours and theirs take turns, so that a busy machine slows both; a ratio is the median over rounds, `low` and
`high` leave out a tenth on each side. `cpu_ratio` is that of CPU seconds, which other programs disturb less.
Theirs runs with its documented defaults (`SentenceTransformer(folder).encode(texts)`), ours with
`Transformer(name).encode(texts)`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.frame import Context, Missing, median

SUMMARY = "Encoding speed on short and long texts, and how near the vectors are"
NEEDS = ("banking77", "scifact")
TAKES = "3 minutes"

_MODEL = "all-MiniLM-L6-v2"
_ROUNDS = 15


def run(context: Context) -> None:
    from mercat.encoders.transformer import Transformer

    ours = Transformer(_MODEL)
    ours.warm_up()
    theirs = _sentence_transformer(context, str(ours.checkpoint.folder))
    context.note("encoder", {"backend": ours.info().backend, "dtype": ours.info().dtype, "note": ours.info().note})
    sets = {"short": _short(context), "long": _long(context)}
    cosines = [_compare(context, name, texts, ours.encode, theirs) for name, texts in sets.items()]
    both = np.concatenate(cosines)
    context.record("mean_cosine", float(both.mean()), low=float(both.min()), n=len(both))


def _short(context: Context) -> list[str]:
    texts = [row["text"] for row in context.read("banking77") if row["split"] == "test"]
    return texts[: 64 if context.quick else 256]


def _long(context: Context) -> list[str]:
    texts = [f"{row['title']} {row['text']}" for row in context.read("scifact", "corpus.csv.gz")]
    return texts[: 8 if context.quick else 32]


def _compare(
    context: Context, name: str, texts: Sequence[str], ours: Callable[..., Any], theirs: Callable[..., Any]
) -> Any:
    """Record speeds and their ratio; return the cosine of each text."""
    one, other = ours(texts), theirs(texts)  # warm: allocators, caches
    rounds = [(_timed(theirs, texts), _timed(ours, texts)) for _ in range(2 if context.quick else _ROUNDS)]
    for word, place in (("", 0), ("cpu_", 1)):
        ratios = sorted(slow[place] / fast[place] for slow, fast in rounds)
        low, high = ratios[len(ratios) // 10], ratios[-1 - len(ratios) // 10]
        metric = f"{name}.{word}ratio_to_sentence_transformers"
        context.record(metric, median(ratios), low=low, high=high, n=len(ratios))
    for peer, seconds in (
        ("", [fast[0] for _, fast in rounds]),
        ("sentence-transformers", [slow[0] for slow, _ in rounds]),
    ):
        context.record(f"{name}.texts_per_s", len(texts) / median(seconds), n=len(texts), peer=peer)
    return np.sum(one * other, axis=1) / np.linalg.norm(other, axis=1)


def _timed(encode: Callable[..., Any], texts: Sequence[str]) -> tuple[float, float]:
    """Return wall and CPU seconds of this process, all threads."""
    started, used = time.perf_counter(), time.process_time()
    encode(texts)
    return time.perf_counter() - started, time.process_time() - used


def _sentence_transformer(context: Context, folder: str) -> Callable[..., Any]:
    try:
        import sentence_transformers
    except ImportError as error:
        raise Missing("needs sentence-transformers as the denominator") from error
    context.note("peer_version", sentence_transformers.__version__)
    model = sentence_transformers.SentenceTransformer(folder)
    return lambda texts: model.encode(list(texts), show_progress_bar=False)
