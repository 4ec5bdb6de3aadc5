"""Intents on BANKING77, CLINC150 and HWU64: all rows, 5 and 10 rows a label, and what belongs to no intent.

Settings were chosen on validation parts. A row is one training with one seed; the peers TF-IDF + linear SVM run with
it, SetFit with `--peers`, as it takes long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks._learning import Setting, examples, learned, mean_metric, over_seeds, record, right, shots
from benchmarks._peers import setfit, svm
from benchmarks.frame import Context, Missing
from mercat.values import Example

SUMMARY = "accuracy of intents with all rows and with few, calibration, and out-of-scope detection"
NEEDS = ("banking77", "clinc150", "hwu64")
TAKES = "60 minutes; days of peers with --peers"

SEEDS = range(3)
FEW_SEEDS = range(5)
FULL = {
    "banking77": Setting("full", {"epochs": 5, "average_epochs": 3, "label_smoothing": 0.1}),
    "clinc150": Setting("full", {"epochs": 4, "learning_rate": 3e-4}),
    "hwu64": Setting("full", {"epochs": 4, "learning_rate": 3e-4}),
}
FEW = Setting("few-shot")
FROZEN = Setting("linear", {"validation_share": 0.2})  # of five rows a label one
_QUICK = Setting("linear")
_REJECTED = 0.04  # of what is in scope, as in the model cards that report recall out of scope


def run(context: Context) -> None:
    for name in NEEDS:
        rows, strange = _rows(context, name)
        true = [row.label for row in rows if row.split == "test"]
        _full(context, name, rows, strange, true)
        if name == "banking77":
            for count in (5,) if context.quick else (5, 10):
                _few(context, name, rows, true, count)


def _full(context: Context, name: str, rows: Sequence[Example], strange: Sequence[str], true: Sequence[str]) -> None:
    from mercat.evaluation.metrics import ece_interval

    setting = _QUICK if context.quick else FULL[name]
    runs = [
        _row(
            context,
            name,
            ["full", setting, seed],
            partial(learned, context, rows, setting, seed=seed, outside=strange),
        )
        for seed in _seeds(context, SEEDS)
    ]
    record(context, f"{name}.full.accuracy", over_seeds(true, runs), seeds=len(runs))
    errors = [ece_interval(np.array(each["confidence"]), right(true, each) > 0) for each in runs]
    record(context, f"{name}.full.ece", mean_metric(errors), seeds=len(runs))
    for figure in ("cpu_s", "wall_s"):
        middle = float(np.median([each[figure] for each in runs]))
        context.record(f"{name}.full.train_{figure}", middle, seeds=len(runs))
    if strange:
        _outside(context, f"{name}.full", runs)
    _peer(context, f"{name}.full", rows, true, "tfidf-svm", svm)


def _outside(context: Context, prefix: str, runs: Sequence[dict[str, Any]]) -> None:
    """Record how well what is out of scope is told from what is in scope, by the familiarity of the answers."""
    from mercat.evaluation.bootstrap import interval
    from mercat.evaluation.metrics import auroc

    areas, recalls = [], []
    for each in runs:
        known, strange = np.array(each["familiarity"]), np.array(each["outside"])
        inside = np.concatenate([np.ones(len(known), dtype=bool), np.zeros(len(strange), dtype=bool)])
        areas.append(auroc(inside, np.concatenate([known, strange])))
        recalls.append(interval((strange < np.quantile(known, _REJECTED)).astype(float)))
    record(context, f"{prefix}.oos_auroc", mean_metric(areas), seeds=len(runs))
    record(context, f"{prefix}.oos_recall_at_4pct_rejection", mean_metric(recalls), seeds=len(runs))


def _few(context: Context, name: str, rows: Sequence[Example], true: Sequence[str], count: int) -> None:
    setting = FROZEN if context.quick else FEW
    drawn = {seed: shots(rows, count, seed=seed) for seed in _seeds(context, FEW_SEEDS)}
    ours = [
        _row(context, name, [count, setting, seed], partial(learned, context, drawn[seed], setting, seed=seed))
        for seed in drawn
    ]
    record(context, f"{name}.shot{count}.accuracy", over_seeds(true, ours), seeds=len(ours))
    frozen = [
        _row(
            context,
            name,
            [count, "linear", seed],
            partial(learned, context, drawn[seed], FROZEN, seed=seed),
        )
        for seed in drawn
    ]
    record(context, f"{name}.shot{count}.linear.accuracy", over_seeds(true, frozen), seeds=len(frozen))
    _peer(context, f"{name}.shot{count}", drawn[0], true, "tfidf-svm", svm)
    if context.peers:
        _peer(context, f"{name}.shot{count}", drawn[0], true, "setfit", setfit)


def _peer(
    context: Context,
    prefix: str,
    rows: Sequence[Example],
    true: Sequence[str],
    name: str,
    answer: Callable[[Sequence[Example]], dict[str, Any]],
) -> None:
    try:
        found = context.row([prefix, name], partial(answer, rows), digest=context.digest(*NEEDS))
    except Missing as error:
        context.note(f"{name}.left_out", str(error))
        return
    record(context, f"{prefix}.accuracy", over_seeds(true, [found]), seeds=1, peer=name)
    context.record(f"{prefix}.train_cpu_s", found["cpu_s"], peer=name)
    context.note(name, found["version"])


def _row(context: Context, name: str, key: Sequence[Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = context.row([name, *key], make, digest=context.digest(name))
    return found


def _rows(context: Context, name: str) -> tuple[list[Example], list[str]]:
    """Return the rows of a set, and the texts of its test part that belong to no intent."""
    read = context.read(name)
    if context.quick:
        read = sorted(read, key=lambda row: row["label"])[::12]
    strange = [row["text"] for row in read if row.get("is_oos") == "1" and row["split"] == "test"]
    found = examples([row for row in read if row.get("is_oos") != "1"])
    known = {row.label for row in found if row.split == "train"}
    return [row for row in found if row.label in known], strange


def _seeds(context: Context, seeds: range) -> range:
    return range(1) if context.quick else seeds
