"""Named entities on CoNLL-2003: tags of words and whole entities, beside a gazetteer of the train part's entities.

Settings were chosen on the published validation part (testa); test is testb, every row of it. A row is one training.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._learning import CHINESE, Setting, mean_metric, record, trained
from benchmarks.frame import Context
from mercat.values import Example

SUMMARY = "entities and word tags of CoNLL-2003"
NEEDS = ("conll2003",)
TAKES = "60 minutes"

SEEDS = range(3)
SETTING = Setting("tokens", {"epochs": 3, "learning_rate": 2e-4}, encoder=CHINESE)
_QUICK = Setting("tokens", {"epochs": 1})
_SPLITS = {"valid": "validation"}
_FIGURES = ("entity_f1", "entity_precision", "entity_recall", "token_micro_f1", "token_macro_f1")


def run(context: Context) -> None:
    from mercat.evaluation.spans import tagging

    rows = _rows(context)
    true = [row.metadata["tags"] for row in rows if row.split == "test"]
    setting, digest = _QUICK if context.quick else SETTING, context.digest(*NEEDS)
    runs = [
        context.row([setting, seed], partial(_learned, context, rows, setting, seed), digest=digest)
        for seed in (range(1) if context.quick else SEEDS)
    ]
    figures = [tagging(true, each["tags"]) for each in runs]
    for name in _FIGURES:
        record(context, f"conll2003.{name}", mean_metric([each[name] for each in figures]), seeds=len(runs))
    context.record("conll2003.train_cpu_s", sum(each["cpu_s"] for each in runs) / len(runs), seeds=len(runs))
    simple = tagging(true, context.row(["gazetteer"], partial(_gazetteer, rows), digest=digest))
    for name in _FIGURES:
        record(context, f"conll2003.{name}", simple[name], seeds=1, peer="gazetteer")
    context.note("setting", f"{setting.encoder} {dict(setting.parameters)}")


def _learned(context: Context, rows: Sequence[Example], setting: Setting, seed: int) -> dict[str, Any]:
    from mercat.predictors.tagger import TagScorer
    from mercat.training.tagging.rows import TagReader

    reader = TagReader()
    with tempfile.TemporaryDirectory(prefix="mercat-benchmark-") as name:
        made = trained(context, rows, setting, seed=seed, folder=Path(name))
        scorer, test = TagScorer(made.artifact.folder), [row for row in rows if row.split == "test"]
        scores = scorer.scores([row.text for row in test], [reader.read(row).words for row in test])
    return {**made.spent, "tags": [scorer.tags(each) for each in scores]}


def _gazetteer(rows: Sequence[Example]) -> list[list[str]]:
    from mercat.training.tagging.gazetteer import Gazetteer
    from mercat.training.tagging.rows import TagReader

    reader = TagReader()
    read = {row.id: reader.read(row) for row in rows}
    simple = Gazetteer([read[row.id] for row in rows if row.split != "test"])
    return [list(simple.tags(read[row.id])) for row in rows if row.split == "test"]


def _rows(context: Context) -> list[Example]:
    """Return all rows, the words and tags of each in its metadata; with --quick every twentieth."""
    with gzip.open(context.path("conll2003", "conll2003.jsonl.gz"), "rt", encoding="utf-8") as stream:
        read = [json.loads(line) for line in stream]
    return [
        Example(
            f"{number:06d}",
            " ".join(row["tokens"]),
            "",
            split=_SPLITS.get(row["split"], row["split"]),
            metadata={"tokens": row["tokens"], "tags": row["ner_tags"]},
        )
        for number, row in enumerate(read)
        if not context.quick or number % 20 == 0
    ]
