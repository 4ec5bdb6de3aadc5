"""What the second and the third vertical cost, when three ask about one text on one shared encoder.

Intents of customer service, polarity of finance news and categories of a catalogue are three trained classifiers on
the default encoder. A text is asked about alone, as a service asks: by one vertical, by all three, and by three that
share nothing. Rounds take turns, so that a busy machine slows all alike.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._learning import examples
from benchmarks._sets import phrasebank
from benchmarks.frame import Context
from mercat.values import Example

SUMMARY = "three verticals that ask about one text, against one of them"
NEEDS = ("banking77", "financial-phrasebank", "movielens-100k")
TAKES = "6 minutes"

VERTICALS = ("intents", "polarity", "categories")
_ROUNDS = 15
_TEXTS = 100


def run(context: Context) -> None:
    row = context.row(["share"], lambda: _measured(context), digest=context.digest(*NEEDS))
    one, three, apart = (row["seconds"][name] for name in ("one", "three", "apart"))
    ratios = [all_ / single for all_, single in zip(three, one, strict=True)]
    context.record_median("three_verticals.ratio_to_one", ratios)
    context.record_median(
        "three_encoders.ratio_to_one", [all_ / single for all_, single in zip(apart, one, strict=True)]
    )
    context.record_median("one_vertical.ms_per_text", [1000 * seconds / row["texts"] for seconds in one])
    for name, accuracy in row["accuracy"].items():
        context.record(
            f"{name}.accuracy", accuracy["value"], low=accuracy["low"], high=accuracy["high"], n=accuracy["n"]
        )
    context.note("encoder", row["encoder"])


def _measured(context: Context) -> dict[str, Any]:
    from mercat.classifiers.trained import TrainedClassifier
    from mercat.encoders.cache import Cached
    from mercat.encoders.transformer import Transformer

    with tempfile.TemporaryDirectory(prefix="mercat-benchmark-") as name:
        folder, rows = Path(name), _rows(context)
        shared = Cached(Transformer("all-MiniLM-L6-v2"))
        artifacts, accuracy = _trained(folder, shared, rows)
        together = [TrainedClassifier(artifacts, artifact=each, encoder=shared) for each in VERTICALS]
        apart = [TrainedClassifier(artifacts, artifact=each, encoder=shared.encoder) for each in VERTICALS]
        texts = [row.text for row in rows["intents"] if row.split == "test"]
        asked = {"one": together[:1], "three": together, "apart": apart}
        for each in (*together, *apart):
            each.scores([rows["intents"][0].text])
        seconds = _rounds(asked, texts, shared, rounds=2 if context.quick else _ROUNDS)
        return {
            "seconds": seconds,
            "texts": _TEXTS,
            "accuracy": accuracy,
            "encoder": f"{shared.info().model}, {shared.info().backend}",
        }


def _rounds(asked: dict[str, Any], texts: Sequence[str], shared: Any, *, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each round per way of asking; every text is new to the encoder's memory."""
    found: dict[str, list[float]] = {name: [] for name in asked}
    for number in range(rounds):
        drawn = texts[number * _TEXTS % len(texts) :][:_TEXTS]
        for turn, (name, classifiers) in enumerate(asked.items()):
            fresh = [f"{text} ({number}.{turn})" for text in drawn]
            found[name].append(_timed(partial(_ask, classifiers, fresh)))
    return found


def _ask(classifiers: Sequence[Any], texts: Sequence[str]) -> None:
    for text in texts:
        for classifier in classifiers:
            classifier.scores([text])


def _timed(act: Callable[[], None]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def _trained(folder: Path, encoder: Any, rows: dict[str, list[Example]]) -> tuple[Any, dict[str, Any]]:
    """Train a linear head per vertical; return the artifacts and the test accuracy of each."""
    from mercat.artifacts import Artifacts
    from mercat.store import Store
    from mercat.training.classifying.linear import Linear
    from mercat.training.train import evaluate, train

    artifacts, found = Artifacts(folder / "artifacts"), {}
    with Store.open(f"sqlite:///{folder}/mercat.db") as store:
        store.upgrade()
        for name, examples_ in rows.items():
            store.upsert(examples_, collection=name)
            recipe = Linear(encoder, collection=name)
            options: dict[str, Any] = {"store": store, "scratch_root": folder / "scratch"}
            artifact = train(recipe, name=name, artifacts=artifacts, recipe_name="linear", **options)
            metric = evaluate(recipe, artifact=artifact, **options).metrics["accuracy"]
            found[name] = {"value": metric.value, "low": metric.low, "high": metric.high, "n": metric.n}
    return artifacts, found


def _rows(context: Context) -> dict[str, list[Example]]:
    films = context.read("movielens-100k", "items.csv.gz")
    first = [{"text": film["title"], "label": film["category"].split("|")[0], "split": ""} for film in films]
    found = {
        "intents": examples(context.read("banking77")),
        "polarity": phrasebank(context),
        "categories": examples(first),
    }
    if context.quick:
        found["intents"] = [
            row for number, row in enumerate(found["intents"]) if number % 10 == 0 or row.split == "test"
        ]
    return dict(zip(VERTICALS, found.values(), strict=True))
