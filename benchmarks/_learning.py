"""What the benchmarks of trained models share: rows of a set, one training on them, figures over all seeds."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from benchmarks.frame import Context, Missing
from mercat.evaluation.base import Metric
from mercat.values import Example

MINILM = "all-MiniLM-L6-v2"
CHINESE = "e5-small-zh-en"  # a folder below --models
MODEL, ROWS = "model", "rows"  # the names of the artifact and of the collection
_SPLITS = {"valid": "validation"}


@dataclass(frozen=True, slots=True)
class Setting:
    """A recipe with its parameters, and the encoder that it starts from."""

    recipe: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    encoder: str = MINILM


def examples(rows: Sequence[Mapping[str, str]]) -> list[Example]:
    """Return rows with the columns `text`, `label` and, where there is one, `split` as examples."""
    return [
        Example(f"{number:06d}", row["text"], row["label"], split=_SPLITS.get(row["split"], row["split"]))
        for number, row in enumerate(rows)
    ]


def shots(rows: Sequence[Example], count: int, *, seed: int) -> list[Example]:
    """Return the test rows and `count` train rows of each label, drawn from its rows in the order of their texts."""
    by_label: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        if row.split == "train":
            by_label[row.label].append(row)
    drawn = [
        row
        for label in sorted(by_label)
        for row in Random(seed).sample(sorted(by_label[label], key=lambda row: row.text), count)
    ]
    return [*drawn, *(row for row in rows if row.split == "test")]


def encoder_of(context: Context, name: str) -> Any:
    """Return a fine-tunable encoder: a packaged one by its name, or a folder below --models."""
    from mercat.encoders.transformer import Transformer

    if name != CHINESE:
        return Transformer(name)
    folder = context.models / name
    if not folder.is_dir():
        raise Missing(f"there is no {folder}; name the folder of the models with --models")
    return Transformer(str(folder), query_prefix="query: ", document_prefix="passage: ")


@dataclass(frozen=True, slots=True)
class Made:
    """What a training left behind, and the seconds that it took."""

    artifact: Any
    artifacts: Any
    recipe: Any
    report: Any
    spent: Mapping[str, float]


def trained(
    context: Context,
    rows: Sequence[Example],
    setting: Setting,
    *,
    seed: int,
    folder: Path,
    recipe: Any = None,
    name: str = MODEL,
) -> Made:
    """Train once, in a store of its own in `folder`; `recipe` is that of the setting unless it was made already."""
    from mercat.artifacts import Artifacts
    from mercat.store import Store
    from mercat.training.report import load_report
    from mercat.training.train import train

    recipe, artifacts = recipe or _recipe(context, setting), Artifacts(folder / "artifacts")
    started, used = time.perf_counter(), time.process_time()
    with Store.open(f"sqlite:///{folder}/mercat.db") as store:
        store.upgrade()
        store.upsert(rows, collection=ROWS)
        artifact = train(
            recipe,
            name=name,
            store=store,
            artifacts=artifacts,
            scratch_root=folder / "scratch",
            recipe_name=setting.recipe,
            seed=seed,
            progress=Told(f"{context.name} {setting.recipe}, seed {seed}"),
        )
    spent = {"wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - used}
    return Made(artifact, artifacts, recipe, load_report(artifact.folder), spent)


def learned(
    context: Context, rows: Sequence[Example], setting: Setting, *, seed: int, outside: Sequence[str] = ()
) -> dict[str, Any]:
    """Train once and answer every test row, as `answered` returns it."""
    with tempfile.TemporaryDirectory(prefix="mercat-benchmark-") as name:
        return answered(trained(context, rows, setting, seed=seed, folder=Path(name)), rows, outside=outside)


def answered(made: Made, rows: Sequence[Example], *, outside: Sequence[str] = ()) -> dict[str, Any]:
    """Answer every test row; a JSON-able row. `outside` are texts that belong to no label.

    `predicted`, `confidence` and `familiarity` are of the test rows in their order, `outside` the familiarity of those.
    """
    from mercat.classifiers.trained import TrainedClassifier

    served = TrainedClassifier(made.artifacts, artifact=MODEL, encoder=made.recipe.encoder)
    texts = [row.text for row in rows if row.split == "test"]
    scores, known, strange = served.scores(texts), served.familiarity(texts), served.familiarity(outside)
    counts = made.report.counts
    return {
        **made.spent,
        "predicted": [served.labels[place] for place in scores.argmax(axis=1)],
        "confidence": _listed(scores.max(axis=1)),
        "familiarity": _listed(known),
        "outside": _listed(strange),
        "validation": {key: metric.value for key, metric in made.report.metrics.items() if "." not in key},
        "counts": {key: count for key, count in counts.items() if not key.startswith("leaks")},
    }


class Told:
    """A `Progress` that says once a minute, on standard error, how far a training is."""

    def __init__(self, what: str, *, every_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._every_s, self._clock, self._last = what, every_s, clock, clock()

    def __call__(self, stage: str, done: int, total: int, **figures: float) -> None:
        import sys

        if self._clock() - self._last >= self._every_s:
            self._last = self._clock()
            print(f"{self._what}: {stage} {done} of {total}", file=sys.stderr, flush=True)


def over_seeds(true: Sequence[str], runs: Sequence[Mapping[str, Any]]) -> Metric:
    """Return mean accuracy over the runs; rows are drawn for the interval, each with its mean over the runs."""
    from mercat.evaluation.bootstrap import interval

    return interval(np.mean([right(true, run) for run in runs], axis=0))


def mean_metric(metrics: Sequence[Metric]) -> Metric:
    """Return the mean over seeds of a figure and of the ends of its intervals."""
    value, low, high = (float(np.mean([getattr(each, end) for each in metrics])) for end in ("value", "low", "high"))
    return Metric(value, low, high, metrics[0].n)


def record(context: Context, metric: str, found: Metric, *, seeds: int, peer: str = "") -> None:
    """Keep a metric with its interval."""
    context.record(metric, found.value, low=found.low, high=found.high, n=found.n, seeds=seeds, peer=peer)


def right(true: Sequence[str], run: Mapping[str, Any]) -> Any:
    """Return 1.0 for each row that a run answered right and 0.0 for the others, shape (rows,)."""
    return np.array([label == guess for label, guess in zip(true, run["predicted"], strict=True)], dtype=float)


def _recipe(context: Context, setting: Setting) -> Any:
    from mercat.parts import register_core
    from mercat.registry import Registry

    registry = Registry()
    register_core(registry)
    make = registry.recipes.get(setting.recipe).load()
    return make(encoder_of(context, setting.encoder), collection=ROWS, **setting.parameters)


def _listed(values: Any) -> list[float]:
    return [round(float(value), 6) for value in values]
