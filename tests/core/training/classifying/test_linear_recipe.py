from __future__ import annotations

import numpy as np
import pytest

from mercat.artifacts import Artifacts
from mercat.classifiers.trained import TrainedClassifier
from mercat.encoders.hashing import Hashing
from mercat.errors import ConfigError, FingerprintError
from mercat.heads import MemoryHead, load_head
from mercat.store import Store
from mercat.testing.training import RecipeContract, topic_examples, train_in
from mercat.training.base import Run
from mercat.training.classifying.linear import Linear
from mercat.training.data import unseen
from mercat.training.progress import silent
from mercat.training.report import evaluation_text, load_report, report_text
from mercat.training.train import evaluate


class Words(Hashing):
    """An encoder that counts what it encodes."""

    encoded = 0

    def encode(self, texts, *, role="document"):
        self.encoded += len(texts)
        return super().encode(texts, role=role)


class TestLinearKeepsTheContract(RecipeContract):
    def recipe(self):
        return Linear(Words(), collection="intents", target_error=0.05)

    def fill(self, store):
        store.upsert(topic_examples(300), collection="intents")


@pytest.fixture
def store(store):
    store.upsert(topic_examples(300), collection="intents")
    return store


def test_it_learns_and_is_served_by_the_saved_head(store, tmp_path):
    encoder = Words()
    artifact = train_in(tmp_path, Linear(encoder, collection="intents"), store=store)
    assert artifact.metrics["accuracy"]["value"] > 0.85
    assert artifact.details["role"] == "query"
    head = load_head(artifact.folder / "head")
    assert head.labels == ("card", "refund", "transfer")
    scores = head.scores(encoder.encode(["my card chip stolen today", "refund from the merchant please"]))
    assert [head.labels[number] for number in scores.argmax(axis=1)] == ["card", "refund"]


def test_the_report_counts_parts_and_reads_well(store, tmp_path):
    artifact = train_in(tmp_path, Linear(Words(), collection="intents"), store=store)
    report = load_report(artifact.folder)
    assert sum(report.counts[part] for part in ("train", "validation", "test")) == 300
    assert report.counts["trainable_parameters"] == 3 * 256 + 3
    text = report_text(report)
    assert "| accuracy |" in text
    assert "labels 3" in text


def test_a_target_error_makes_it_abstain(store, tmp_path):
    strict = train_in(tmp_path, Linear(Words(), collection="intents", target_error=0.0), store=store)
    free = train_in(tmp_path, Linear(Words(), collection="intents"), store=store)
    assert load_head(free.folder / "head").threshold == 0.0
    assert load_head(strict.folder / "head").threshold > 0.0
    assert strict.metrics["coverage"]["value"] < 1.0
    assert strict.metrics["covered_accuracy"]["value"] == 1.0


def test_a_killed_run_does_not_encode_again(store, tmp_path):
    class Killed(Exception):
        pass

    def kill(stage, done, total, **figures):
        if stage == "fit":
            raise Killed

    first, second = Words(), Words()
    with pytest.raises(Killed):
        train_in(tmp_path, Linear(first, collection="intents"), store=store, progress=kill)
    train_in(tmp_path, Linear(second, collection="intents"), store=store)
    assert first.encoded > 0
    assert second.encoded == 0


def test_evaluation_shows_the_baseline_each_label_and_a_clean_figure(store, tmp_path):
    store.upsert(
        [*topic_examples(60, split="test", seed=3), *topic_examples(200, split="train", seed=4)], collection="given"
    )
    recipe = Linear(Words(), collection="given")
    artifact = train_in(tmp_path, recipe, store=store)
    found = evaluate(recipe, artifact=artifact, store=store, scratch_root=tmp_path / "scratch")
    assert found.baseline == "TF-IDF + logistic regression"
    assert found.counts["test"] == 60
    assert {"accuracy", "macro_f1", "ece", "f1.card", "f1.refund", "f1.transfer"} <= found.metrics.keys()
    assert found.metrics["f1.card"].n == 20
    if found.counts["resembling_train"]:
        assert found.metrics["clean.accuracy"].n == 60 - found.counts["resembling_train"]
    assert "TF-IDF + logistic regression" in evaluation_text(found)


def test_rows_that_training_saw_are_left_out_of_the_test_part(store, tmp_path):
    recipe = Linear(Words(), collection="intents")
    first_test = [row.id for row in recipe.parts(Run("intents", store, tmp_path, 0, silent)).test]
    artifact = train_in(tmp_path, recipe, store=store)
    store.upsert(topic_examples(300, seed=9), collection="intents")
    found = evaluate(recipe, artifact=artifact, store=store, scratch_root=tmp_path / "scratch")
    parts = recipe.parts(Run("intents", store, tmp_path, 0, silent))
    assert found.counts["test"] + found.counts["left_out_as_seen"] == len(parts.test)
    assert {row.id for row in unseen(artifact.folder, topic_examples(300))} == set(first_test)


def test_another_encoder_is_refused(store, tmp_path):
    artifact = train_in(tmp_path, Linear(Words(), collection="intents"), store=store)
    other = Words(dimensions=64)
    with pytest.raises(FingerprintError, match=other.fingerprint):
        evaluate(Linear(other, collection="intents"), artifact=artifact, store=store, scratch_root=tmp_path / "scratch")


def test_balanced_weights_lift_a_rare_label(tmp_path):
    rows = [row for number, row in enumerate(topic_examples(600)) if row.label != "refund" or number % 30 == 1]
    with Store.open(f"sqlite:///{tmp_path}/mercat.db") as store:
        store.upsert(rows, collection="intents")
        plain = train_in(tmp_path, Linear(Words(), collection="intents", strength=0.01), store=store)
        even = train_in(
            tmp_path, Linear(Words(), collection="intents", strength=0.01, class_weight="balanced"), store=store
        )
    assert even.metrics["macro_f1"]["value"] > plain.metrics["macro_f1"]["value"]


def test_scores_are_calibrated_on_validation_rows(store, tmp_path):
    artifact = train_in(tmp_path, Linear(Words(), collection="intents"), store=store)
    head = load_head(artifact.folder / "head")
    assert head.temperature != 1.0
    assert np.isfinite(head.temperature)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("strength", 0.0),
        ("strength", -1.0),
        ("strength", float("inf")),
        ("strength", float("nan")),
        ("target_error", 7.0),
        ("target_error", -0.1),
        ("target_error", float("nan")),
        ("test_share", 0.9),
        ("validation_share", -0.1),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_encoded(key, value):
    encoder = Words()
    with pytest.raises(ConfigError, match=f"{key} = {value}") as caught:
        Linear(encoder, collection="intents", **{key: value})
    assert caught.value.found
    assert caught.value.next
    assert encoder.encoded == 0


def test_a_memory_beside_the_head_is_served_like_any_head(store, tmp_path):
    encoder = Words()
    artifact = train_in(tmp_path, Linear(encoder, collection="intents", memory=0.5, neighbours=5), store=store)
    head = load_head(artifact.folder / "head")
    assert isinstance(head, MemoryHead)
    assert (head.share, head.neighbours) == (0.5, 5)
    assert len(head.vectors) == load_report(artifact.folder).counts["train"]
    classifier = TrainedClassifier(Artifacts(tmp_path / "artifacts"), artifact="intents", encoder=encoder)
    assert classifier.predict_many(["my card chip stolen today"])[0].label == "card"


def test_the_share_of_the_memory_is_chosen_on_validation_and_told(store, tmp_path):
    recipe = Linear(Words(), collection="intents", memory="auto", remember="prototypes", target_error=0.0)
    artifact = train_in(tmp_path, recipe, store=store)
    head = load_head(artifact.folder / "head")
    assert head.vectors.shape == (3, 256)
    assert load_report(artifact.folder).details["memory"] == head.share
    assert artifact.metrics["covered_accuracy"]["value"] == 1.0


@pytest.mark.parametrize("wrong", [{"memory": 2.0}, {"neighbours": 0}, {"remember": "everything"}])
def test_a_memory_out_of_range_is_refused(wrong):
    with pytest.raises(ConfigError):
        Linear(Words(), collection="intents", **wrong)
