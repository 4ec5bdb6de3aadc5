"""The figures of `make demo DATA=…`: BANKING77, Financial PhraseBank and MovieLens-100K on their test parts."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.frame import Context

SUMMARY = "the demo on public sets: test metrics of the three verticals beside simple baselines"
NEEDS = ("banking77", "financial-phrasebank", "gold-commodity-news", "movielens-100k")
TAKES = "20 minutes"
METRICS = {
    "banking77.accuracy": ("intents", "metrics", "accuracy"),
    "banking77.macro_f1": ("intents", "metrics", "macro_f1"),
    "banking77.accuracy_minus_tfidf": ("intents", "differences", "accuracy"),
    "phrasebank50.accuracy": ("polarity", "metrics", "accuracy"),
    "phrasebank50.macro_f1": ("polarity", "metrics", "macro_f1"),
    "phrasebank50.accuracy_minus_wordlist": ("polarity", "differences", "accuracy"),
    "movielens100k.ndcg10": ("ranker", "metrics", "ndcg@10"),
    "movielens100k.coverage10": ("ranker", "metrics", "coverage@10"),
    "movielens100k.ndcg10_minus_popular7": ("ranker", "differences", "ndcg@10"),
}


def run(context: Context) -> None:
    """Run the command in a process of its own and record what it says."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mercat.cli.app", "demo", "--json", "--data", str(context.data)]
        said = subprocess.run(
            [*command, "--folder", str(Path(folder) / "demo")], capture_output=True, text=True, check=True
        )
    results = json.loads(said.stdout)["results"]
    for metric, (recipe, part, name) in METRICS.items():
        figure = results[recipe][part][name]
        context.record(metric, figure["value"], low=figure["low"], high=figure["high"], n=figure["n"], seeds=1)
    low = results["ranker"]["differences"]["ndcg@10"]["low"]
    context.record(
        "movielens100k.ndcg10_minus_popular7_low", low, n=results["ranker"]["metrics"]["ndcg@10"]["n"], seeds=1
    )
