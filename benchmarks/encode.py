"""Texts per second against sentence-transformers with the same weights, in the same run.

Rounds of ours and theirs take turns, so that a busy machine slows both; a ratio is the median over rounds.
`cpu_ratio` is that of CPU seconds, which other programs disturb less. Theirs runs with its documented defaults
(`SentenceTransformer(folder).encode(texts)`), ours with `Transformer(name).encode(texts)`, and then on each backend for
which an export is made. A set of texts on a backend is a row: a run that was stopped goes on at the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks._static import measure as measure_static
from benchmarks.frame import Context, Missing

SUMMARY = "Encoding speed on short and long texts, and how near the vectors are"
NEEDS = ("banking77", "scifact")
TAKES = "12 minutes"

_MODEL = "all-MiniLM-L6-v2"
_ROUNDS = 15
EXPORTS: dict[str, tuple[Any, Any]] = {"onnx": ("onnx", ""), "int8": ("onnx", "int8"), "openvino": ("openvino", "")}
"""The names of rows beside the default, and the backend and the rounding behind each."""


def run(context: Context) -> None:
    with TemporaryDirectory(prefix="mercat-encode-") as folder:
        theirs = cache(_sentence_transformer)
        for kind in ("", *EXPORTS):
            models = cache(lambda kind=kind: _models(context, kind, Path(folder), theirs))  # only if a row needs them
            try:
                _measure_all(context, kind, models)
            except Missing as error:
                if not kind:
                    raise
                context.note(f"{kind}.left_out", str(error))
        measure_static(context, lambda: theirs(str(_folder())), _short(context))


def _measure_all(context: Context, kind: str, models: Callable[[], tuple[Any, ...]]) -> None:
    """Measure both sets of texts on one backend and record the figures, under its name unless it is the default."""
    from mercat.evaluation.bootstrap import interval

    digest, prefix = context.digest(*NEEDS), f"{kind}." if kind else ""
    cosines: list[float] = []
    for name, texts in (("short", _short), ("long", _long)):
        key = [kind, name] if kind else [name]
        row = context.row(key, partial(_row, context, texts, models), digest=digest)
        _record(context, f"{prefix}{name}", row, prefix)
        cosines += row["cosines"]
    mean = interval(cosines)
    context.record(f"{prefix}mean_cosine", mean.value, low=mean.low, high=mean.high, n=mean.n)
    context.record(f"{prefix}min_cosine", min(cosines), n=len(cosines))


def _row(
    context: Context, texts: Callable[[Context], list[str]], models: Callable[[], tuple[Any, ...]]
) -> dict[str, Any]:
    return _measured(context, texts(context), *models())


def _models(
    context: Context, kind: str, folder: Path, peer: Callable[[str], tuple[Any, str]]
) -> tuple[Any, Callable[..., Any], dict[str, Any]]:
    """Return ours, theirs and what they are. Raises Missing if a backend's package is not there."""
    from mercat.encoders.transformer import Transformer
    from mercat.errors import MissingExtra

    ours = Transformer(_MODEL, workspace_folder=folder)
    if kind:
        backend, quantise = EXPORTS[kind]
        ours = ours.on(backend, quantise=quantise)
        try:
            ours.export()
        except MissingExtra as error:
            raise Missing(str(error)) from error
    ours.warm_up()
    theirs, version = peer(str(ours.checkpoint.folder))
    told = {"backend": ours.info().backend, "dtype": ours.info().dtype, "note": ours.info().note}
    return ours.encode, theirs, {"encoder": told, "peer_version": version}


def _folder() -> Path:
    from mercat.encoders.transformer import Transformer

    return Transformer(_MODEL).checkpoint.folder


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


def _record(context: Context, name: str, row: dict[str, Any], prefix: str) -> None:
    """Record speeds and their ratios."""
    for word, place in (("", 0), ("cpu_", 1)):
        ratios = [slow[place] / fast[place] for slow, fast in row["rounds"]]
        context.record_median(f"{name}.{word}ratio_to_sentence_transformers", ratios)
    for peer, side in (("", 1), ("sentence-transformers", 0)):
        context.record_median(
            f"{name}.texts_per_s", [row["texts"] / both[side][0] for both in row["rounds"]], peer=peer
        )
    for key, value in row["notes"].items():
        context.note(f"{prefix}{key}", value)


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
