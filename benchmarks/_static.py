"""The rows of `encode` for a table of token vectors made from the same weights: how fast, and what it still knows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks._learning import MINILM, examples
from benchmarks.frame import Context

_ROUNDS = 15
_COPIES = 4  # of the texts for the table, which is done with one copy before a clock can tell


def measure(context: Context, theirs: Callable[[], tuple[Callable[..., Any], str]], texts: Sequence[str]) -> None:
    """Distil, time in turns with sentence-transformers, and fit the same linear head on both encoders' vectors."""
    row = context.row(["static"], lambda: _measured(context, theirs, texts), digest=context.digest("banking77"))
    ratios = [slow / fast for slow, fast in row["rounds"]]
    context.record_median("static.ratio_to_sentence_transformers", ratios)
    context.record_median("static.texts_per_s", [row["texts"] / fast for _, fast in row["rounds"]])
    context.record("static.accuracy_share", row["accuracy"]["static"] / row["accuracy"]["encoder"], n=row["n"], seeds=1)
    for name, accuracy in row["accuracy"].items():
        context.record(f"{name}.banking77.linear.accuracy", accuracy, n=row["n"], seeds=1)
    context.record("static.distil_s", row["distil_s"])


def _measured(
    context: Context, peer: Callable[[], tuple[Callable[..., Any], str]], texts: Sequence[str]
) -> dict[str, Any]:
    from mercat.encoders.static import Static
    from mercat.encoders.transformer import Transformer

    theirs, _ = peer()
    rows = examples(context.read("banking77"))
    if context.quick:
        rows = [row for number, row in enumerate(rows) if number % 8 == 0]
    with TemporaryDirectory(prefix="mercat-static-") as name:
        teacher = Transformer(MINILM)
        started = time.perf_counter()
        student = Static(str(_distilled(Path(name), teacher, rows)))
        distil_s = time.perf_counter() - started
        fits = {"encoder": _accuracy(teacher, rows), "static": _accuracy(student, rows)}
        many = list(texts) * _COPIES
        theirs(texts), student.encode(many)  # warm
        rounds = []
        for _ in range(2 if context.quick else _ROUNDS):
            slow = _timed(lambda: theirs(texts)) / len(texts)
            rounds.append((slow, _timed(lambda: student.encode(many)) / len(many)))
    test = sum(row.split == "test" for row in rows)
    return {"rounds": rounds, "texts": 1, "accuracy": fits, "n": test, "distil_s": distil_s}


def _distilled(folder: Path, teacher: Any, rows: Sequence[Any]) -> Path:
    """Distil on the train part and return the folder of the table."""
    from mercat.artifacts import Artifacts
    from mercat.encoders.made import IN_ARTIFACT
    from mercat.store import Store
    from mercat.training.encoding.distill_static import DistillStatic
    from mercat.training.train import train

    with Store.open(f"sqlite:///{folder}/mercat.db") as store:
        store.upgrade()
        store.upsert([row for row in rows if row.split != "test"], collection="rows")
        artifact = train(
            DistillStatic(teacher, collection="rows"),
            name="small",
            store=store,
            artifacts=Artifacts(folder / "artifacts"),
            scratch_root=folder / "scratch",
            recipe_name="distill-static",
        )
    return artifact.folder / IN_ARTIFACT


def _accuracy(encoder: Any, rows: Sequence[Any]) -> float:
    """Fit a linear head on train vectors, its strength chosen on a tenth of them, and return test accuracy."""
    import numpy as np

    from mercat.evaluation.splits import stratified
    from mercat.heads import LinearHead

    parts = stratified(rows, validation=0.1, test=0.0, seed=0)
    train, validation, test = (
        (encoder.encode([row.text for row in part], role="query"), [row.label for row in part])
        for part in (parts.train, parts.validation, parts.test)
    )
    head = LinearHead.fit(*train, fingerprint=encoder.fingerprint, validation=validation)
    guessed = [head.labels[place] for place in head.scores(test[0]).argmax(axis=1)]
    return float(np.mean([left == right for left, right in zip(guessed, test[1], strict=True)]))


def _timed(act: Callable[[], Any]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started
