"""Texts per second against sentence-transformers with the same weights, in the same run.

Rounds of ours and theirs take turns, so that a busy machine slows both; a ratio is the median over rounds. Theirs runs
with its documented defaults (`SentenceTransformer(folder).encode(texts)`), ours with `Transformer(name).encode(texts)`.
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
_ROUNDS = 7


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
    return texts[: 64 if context.quick else 512]


def _long(context: Context) -> list[str]:
    texts = [f"{row['title']} {row['text']}" for row in context.read("scifact", "corpus.csv.gz")]
    return texts[: 8 if context.quick else 64]


def _compare(
    context: Context, name: str, texts: Sequence[str], ours: Callable[..., Any], theirs: Callable[..., Any]
) -> Any:
    """Record speeds and their ratio; return the cosine of each text."""
    one, other = ours(texts), theirs(texts)  # warm: allocators, caches
    rounds = [(_seconds(theirs, texts), _seconds(ours, texts)) for _ in range(2 if context.quick else _ROUNDS)]
    ratios = sorted(slow / fast for slow, fast in rounds)
    record = context.record
    record(f"{name}.ratio_to_sentence_transformers", median(ratios), low=ratios[0], high=ratios[-1], n=len(rounds))
    record(f"{name}.texts_per_s", len(texts) / median([fast for _, fast in rounds]), n=len(texts))
    speed = len(texts) / median([slow for slow, _ in rounds])
    record(f"{name}.texts_per_s", speed, n=len(texts), peer="sentence-transformers")
    return np.sum(one * other, axis=1) / np.linalg.norm(other, axis=1)


def _seconds(encode: Callable[..., Any], texts: Sequence[str]) -> float:
    started = time.perf_counter()
    encode(texts)
    return time.perf_counter() - started


def _sentence_transformer(context: Context, folder: str) -> Callable[..., Any]:
    try:
        import sentence_transformers
    except ImportError as error:
        raise Missing("needs sentence-transformers as the denominator") from error
    context.note("peer_version", sentence_transformers.__version__)
    model = sentence_transformers.SentenceTransformer(folder)
    return lambda texts: model.encode(list(texts), show_progress_bar=False)
