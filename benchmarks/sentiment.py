"""Sentiment in English and Chinese: Financial PhraseBank, SST-2 and FinFE, beside TF-IDF and the finance word list.

Settings were chosen on validation parts. A row is one training with one seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks._learning import CHINESE, Setting, learned, mean_metric, over_seeds, record, right
from benchmarks._peers import svm, tfidf
from benchmarks._sets import finfe, phrasebank, sst2
from benchmarks.frame import Context
from mercat.evaluation.base import Metric
from mercat.values import Example

SUMMARY = "accuracy of sentiment on Financial PhraseBank, SST-2 and FinFE (Chinese)"
NEEDS = ("financial-phrasebank", "sst", "fincuge-finfe")
TAKES = "60 minutes"

SEEDS = range(3)
SETS: dict[str, tuple[str, Callable[[Context], list[Example]], Setting]] = {
    "phrasebank50": (
        "financial-phrasebank",
        phrasebank,
        Setting("full", {"epochs": 6, "learning_rate": 1e-4, "average_epochs": 3, "label_smoothing": 0.1}, CHINESE),
    ),
    "sst2": ("sst", sst2, Setting("full", {"epochs": 3, "learning_rate": 1e-4}, CHINESE)),
    "finfe.clean": (
        "fincuge-finfe",
        finfe,
        Setting("full", {"epochs": 2, "learning_rate": 1e-4, "batch_size": 64}, CHINESE),
    ),
}


def run(context: Context) -> None:
    for name, (folder, read, setting) in SETS.items():
        rows = read(context)
        true = [row.label for row in rows if row.split == "test"]
        chosen = Setting("linear", encoder=setting.encoder) if context.quick else setting
        runs = [
            context.row(
                [name, chosen, seed],
                partial(learned, context, rows, chosen, seed=seed),
                digest=context.digest(folder),
            )
            for seed in (range(1) if context.quick else SEEDS)
        ]
        _record(context, name, true, runs)
        _unlike(context, name, rows, true, runs)
        for peer, answer in (("tfidf", tfidf), ("tfidf-svm", svm)):
            found = context.row([name, peer], partial(answer, rows), digest=context.digest(folder))
            record(context, f"{name}.accuracy", over_seeds(true, [found]), seeds=1, peer=peer)
            record(context, f"{name}.macro_f1", _macro_f1(true, [found]), seeds=1, peer=peer)
            context.note(peer, found["version"])
            if peer == "tfidf":
                record(context, f"{name}.accuracy_minus_tfidf", _ahead(true, runs, found), seeds=len(runs))


def _record(context: Context, name: str, true: Sequence[str], runs: Sequence[dict[str, Any]]) -> None:
    from mercat.evaluation.metrics import ece_interval

    record(context, f"{name}.accuracy", over_seeds(true, runs), seeds=len(runs))
    record(context, f"{name}.macro_f1", _macro_f1(true, runs), seeds=len(runs))
    errors = [ece_interval(np.array(each["confidence"]), right(true, each) > 0) for each in runs]
    record(context, f"{name}.ece", mean_metric(errors), seeds=len(runs))
    context.record(f"{name}.train_cpu_s", float(np.median([each["cpu_s"] for each in runs])), seeds=len(runs))


def _unlike(
    context: Context, name: str, rows: Sequence[Example], true: Sequence[str], runs: Sequence[dict[str, Any]]
) -> None:
    """Record accuracy without the test rows that nearly repeat a row that was learned from."""
    from mercat.evaluation.bootstrap import interval
    from mercat.training.classifying.evaluate import resembling

    asked = [row for row in rows if row.split == "test"]
    unlike = ~resembling(asked, [row for row in rows if row.split != "test"])
    correct = np.mean([right(true, each) for each in runs], axis=0)
    record(context, f"{name}.without_near_duplicates.accuracy", interval(correct[unlike]), seeds=len(runs))


def _macro_f1(true: Sequence[str], runs: Sequence[dict[str, Any]]) -> Metric:
    from mercat.evaluation.metrics import macro_f1

    return mean_metric([macro_f1(true, each["predicted"]) for each in runs])


def _ahead(true: Sequence[str], runs: Sequence[dict[str, Any]], other: dict[str, Any]) -> Metric:
    from mercat.evaluation.bootstrap import paired

    return paired(np.mean([right(true, each) for each in runs], axis=0), right(true, other))
