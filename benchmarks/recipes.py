"""All recipes that classify single texts, on the same rows: accuracy, what learns, time and memory.

BANKING77 with 30 rows a label, so that the whole table fits into an hour. Every training runs in a process of its own;
parameters are the recipes' own defaults but for those shown. `prompt` goes on from an encoder that `mlm` made of the
same rows, `distill` and `quantise` from what `full` made; their seconds are their own, peak memory is that of both.
Peers are the loops that their libraries document: PEFT's LoRA in transformers' Trainer, and with `--peers` SetFit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks._after import learned_after
from benchmarks._apart import apart
from benchmarks._learning import Setting, examples, learned, over_seeds, record, right, shots
from benchmarks._peers import peft_trainer, setfit, svm
from benchmarks.frame import Context, Missing
from mercat.values import Example

SUMMARY = "every recipe on the same rows: accuracy, trainable parameters, seconds, peak memory"
NEEDS = ("banking77",)
TAKES = "60 minutes"

ROWS_PER_LABEL = 30
SETTINGS = {
    "linear": Setting("linear"),
    "linear-memory": Setting("linear", {"memory": "auto"}),
    "full": Setting("full"),
    "full-gradual": Setting("full", {"unfreeze": "gradual", "epochs": 7}),
    "full-layer-decay": Setting("full", {"layer_decay": 0.8}),
    "lora": Setting("lora", {"rank": 8}),
    "adalora": Setting("adalora"),
    "ia3": Setting("ia3"),
    "prefix": Setting("prefix"),
    "soft-prompt": Setting("soft-prompt"),
    "adapter": Setting("adapter"),
    "bitfit": Setting("bitfit"),
    "few-shot": Setting("few-shot"),
    "zero-shot": Setting("zero-shot"),
    "prompt": Setting("prompt", {"template": "The question is about [MASK]. {}"}),
    "distill": Setting("distill", {"layers": 3}),
    "prune": Setting("prune", {"amount": 0.5}),
    "quantise": Setting("quantise"),
}
BEFORE = {"prompt": Setting("mlm"), "distill": Setting("full"), "quantise": Setting("full")}
SEEDS = {"full": range(3), "lora": range(3)}
_PEERS = {"tfidf-svm": svm, "peft-trainer": peft_trainer}


def run(context: Context) -> None:
    rows = shots(examples(context.read("banking77")), 10 if context.quick else ROWS_PER_LABEL, seed=0)
    true, digest = [row.label for row in rows if row.split == "test"], context.digest(*NEEDS)
    found = {}
    for name, setting in SETTINGS.items():
        runs = [
            context.row([name, setting, seed], partial(_apart, context, rows, setting, seed), digest=digest)
            for seed in (range(1) if context.quick else SEEDS.get(name, range(1)))
        ]
        found[name] = runs
        _record(context, name, true, runs)
    _lora_and_full(context, true, found)
    for peer, answer in _PEERS.items() if not context.peers else {**_PEERS, "setfit": setfit}.items():
        try:
            _record(context, peer, true, [context.row([peer], partial(apart, answer, rows), digest=digest)], peer=peer)
        except Missing as error:
            context.note(f"{peer}.left_out", str(error))
    context.note("rows_per_label", ROWS_PER_LABEL)


def _apart(context: Context, rows: Sequence[Example], setting: Setting, seed: int) -> dict[str, Any]:
    if setting.recipe in BEFORE:
        return apart(learned_after, context, rows, setting, BEFORE[setting.recipe], seed=seed)
    return apart(learned, context, rows, setting, seed=seed)


def _record(
    context: Context, name: str, true: Sequence[str], runs: Sequence[dict[str, Any]], *, peer: str = ""
) -> None:
    record(context, f"{name}.accuracy", over_seeds(true, runs), seeds=len(runs), peer=peer)
    for figure in ("wall_s", "cpu_s", "peak_memory_gb"):
        context.record(
            f"{name}.{figure}", float(np.median([each[figure] for each in runs])), seeds=len(runs), peer=peer
        )
    for figure in ("parameters", "trainable_parameters"):
        if figure in runs[0]["counts"]:
            context.record(f"{name}.{figure}", runs[0]["counts"][figure], peer=peer)


def _lora_and_full(context: Context, true: Sequence[str], found: dict[str, list[dict[str, Any]]]) -> None:
    from mercat.evaluation.bootstrap import paired

    lora, full = (np.mean([right(true, each) for each in found[name]], axis=0) for name in ("lora", "full"))
    record(context, "lora.accuracy_minus_full", paired(lora, full), seeds=len(found["lora"]))
    learning, all_of_full = (found[name][0]["counts"]["trainable_parameters"] for name in ("lora", "full"))
    context.record("lora.trainable_share", learning / all_of_full)
