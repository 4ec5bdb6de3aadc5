"""The figures of `make demo DATA=…`: BANKING77, Financial PhraseBank and MovieLens-100K on their test parts."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.frame import Context, Missing

SUMMARY = "the demo on public sets: test metrics of the three verticals beside simple baselines"
NEEDS = ("banking77", "financial-phrasebank", "gold-commodity-news", "movielens-100k")
TAKES = "20 minutes"
METRICS = {
    "customer-service": {
        "banking77.accuracy": ("intents", "metrics", "accuracy"),
        "banking77.macro_f1": ("intents", "metrics", "macro_f1"),
        "banking77.accuracy_minus_tfidf": ("intents", "differences", "accuracy"),
    },
    "financial-sentiment": {
        "phrasebank50.accuracy": ("polarity", "metrics", "accuracy"),
        "phrasebank50.macro_f1": ("polarity", "metrics", "macro_f1"),
        "phrasebank50.accuracy_minus_wordlist": ("polarity", "differences", "accuracy"),
    },
    "recommendation": {
        "movielens100k.ndcg10": ("ranker", "metrics", "ndcg@10"),
        "movielens100k.coverage10": ("ranker", "metrics", "coverage@10"),
        "movielens100k.ndcg10_minus_popular7": ("ranker", "differences", "ndcg@10"),
    },
}


def run(context: Context) -> None:
    """Run the command for one vertical after the other and record what it says; each is a row."""
    digest = context.digest(*NEEDS)
    for vertical, metrics in METRICS.items():
        said = context.row([vertical], partial(_said, context, vertical), digest=digest)
        for metric, (recipe, part, name) in metrics.items():
            figure = said["results"][recipe][part][name]
            context.record(metric, figure["value"], low=figure["low"], high=figure["high"], n=figure["n"], seeds=1)
        context.record(f"{vertical}.wall_s", said["wall_s"])
        context.record(f"{vertical}.peak_memory_gb", said["peak_memory_gb"])
    difference = context.results["movielens100k.ndcg10_minus_popular7"]
    context.record("movielens100k.ndcg10_minus_popular7_low", difference["low"], n=difference["n"], seeds=1)


def _said(context: Context, vertical: str) -> dict[str, Any]:
    """Return what the command says of one vertical, in a process and a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mercat.cli.app", "demo", "--json", "--data", str(context.data.resolve())]
        where = ["--only", vertical, "--folder", str(Path(folder) / "demo")]
        done = subprocess.run([*command, *where], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"mercat demo --only {vertical} failed: {done.stderr.strip()[-800:]}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said
