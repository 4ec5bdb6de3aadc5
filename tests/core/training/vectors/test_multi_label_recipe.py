"""Texts that name one topic, two or none: each is a label by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from mercat.artifacts import Artifacts
from mercat.encoders.hashing import Hashing
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError, DataError, FingerprintError
from mercat.predictors import TrainedLabeller
from mercat.store import Store
from mercat.testing.predictors import LabellerContract
from mercat.testing.training import RecipeContract, train_in
from mercat.training.report import load_report
from mercat.training.train import evaluate
from mercat.training.vectors.multi_label import MultiLabel
from mercat.values import Example

QUICK = {"epochs": 2, "learning_rate": 3e-3, "batch_size": 16, "max_tokens": 16}
TOPICS = {
    "card": ("card", "chip", "pin"),
    "refund": ("refund", "money", "return"),
    "transfer": ("iban", "wire", "abroad"),
}
FILLER = ("please", "my", "the", "a", "when", "can", "how")


def texts(rows, *, seed=0, column=False):
    random, found = np.random.default_rng(seed), []
    for number in range(rows):
        some = [topic for topic in TOPICS if random.random() < 0.4]
        if not some and not column:
            some = ["card"]
        words = [*(random.choice(TOPICS[topic]) for topic in some), *random.choice(FILLER, 3)]
        text = " ".join(random.permutation(words))
        more = {"metadata": {"topics": some}} if column else {}
        found.append(Example(f"t{seed}-{number:04d}", text, "x" if column else "|".join(some), **more))
    return found


class TestFrozenKeepsTheContract(RecipeContract):
    def recipe(self):
        return MultiLabel(Hashing(), collection="topics")

    def fill(self, store):
        store.upsert(texts(150), collection="topics")


class TestFineTunedKeepsTheContract(RecipeContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_bert):
        self.bert = tiny_bert

    def recipe(self):
        return MultiLabel(Transformer(str(self.bert)), collection="topics", adapt="full", **QUICK)

    def fill(self, store):
        store.upsert(texts(150), collection="topics")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labeller")
    with Store.open(f"sqlite:///{folder}/mercat.db") as store:
        store.upsert(texts(300, column=True), collection="topics")
        recipe = MultiLabel(Hashing(), collection="topics", labels="topics")
        artifact = train_in(folder, recipe, store=store)
        scored = evaluate(recipe, artifact=artifact, store=store, scratch_root=folder / "scratch")
    return Artifacts(folder / "artifacts"), scored


class TestTrainedLabeller(LabellerContract):
    @pytest.fixture(autouse=True)
    def _trained(self, trained):
        self.artifacts = trained[0]

    def labeller(self):
        return TrainedLabeller(self.artifacts, artifact="intents", encoder=Hashing())


def test_texts_get_all_their_labels_and_no_other(trained):
    labeller = TrainedLabeller(trained[0], artifact="intents", encoder=Hashing())
    both, none = labeller.label_many(["my chip and the refund please", "how can the a"])
    assert {each.label for each in both} == {"card", "refund"}
    assert none == []
    assert trained[1].metrics["micro_f1"].value > 0.9
    assert {"macro_f1", "lrap", "exact", "f1.card"} <= set(trained[1].metrics)
    assert {"micro_f1", "macro_f1", "lrap"} <= set(trained[1].baseline_metrics)


def test_what_was_learned_on_another_encoder_is_refused(trained):
    with pytest.raises(FingerprintError):
        TrainedLabeller(trained[0], artifact="intents", encoder=Hashing(dimensions=64)).scores(["x"])
    with pytest.raises(ConfigError, match="needs an encoder"):
        TrainedLabeller(trained[0], artifact="intents").scores(["x"])


def test_an_artifact_of_another_kind_is_refused(tmp_path):
    artifacts = Artifacts(tmp_path)
    with artifacts.create("intents", kind="classifier", recipe="linear"):
        pass
    with pytest.raises(ArtifactError, match=r"kind 'classifier', made by 'linear'.*multi-label"):
        TrainedLabeller(artifacts, artifact="intents").scores(["a"])


@pytest.mark.parametrize("adapt", ["full", "lora"])
def test_a_body_that_learned_is_served_without_another_encoder(store, tmp_path, tiny_bert, adapt):
    if adapt == "lora":
        pytest.importorskip("peft")
    store.upsert(texts(150), collection="topics")
    recipe = MultiLabel(Transformer(str(tiny_bert)), collection="topics", adapt=adapt, rank=4, **QUICK)
    report = load_report(train_in(tmp_path, recipe, store=store).folder)
    assert report.details["serving_difference"] < 1e-3
    history = report.details["history"]
    assert history[-1]["train"]["loss"] < history[0]["train"]["loss"]
    labeller = TrainedLabeller(Artifacts(tmp_path / "artifacts"), artifact="intents")
    assert labeller.scores(["my chip please"]).shape == (1, 3)


def test_an_interrupted_run_gives_the_figures_of_a_whole_one(store, tmp_path, tiny_bert):
    class Interrupted(Exception):
        pass

    def stop(stage, done, total, **figures):
        if stage == "train" and done == 9:
            raise Interrupted

    def recipe(**more):
        return MultiLabel(Transformer(str(tiny_bert)), collection="topics", adapt="full", **QUICK, **more)

    store.upsert(texts(150), collection="topics")
    with pytest.raises(Interrupted):
        train_in(tmp_path, recipe(checkpoint_every_s=0.0), store=store, progress=stop)
    resumed = load_report(train_in(tmp_path, recipe(), store=store).folder)
    whole = load_report(train_in(tmp_path / "whole", recipe(), store=store).folder)
    assert (resumed.details["resumed_at"], whole.details["resumed_at"]) == (8, 0)
    assert resumed.details["history"] == whole.details["history"]
    assert resumed.metrics == whole.metrics


def test_a_label_that_only_the_test_part_has_is_told_and_counts_as_missed(store, tmp_path):
    rows = [replace(row, split=("train", "train", "validation", "test")[at % 4]) for at, row in enumerate(texts(160))]
    store.upsert([*rows, Example("odd", "chip ship", "card|ship", split="test")], collection="topics")
    recipe = MultiLabel(Hashing(), collection="topics")
    artifact = train_in(tmp_path, recipe, store=store)
    assert any(
        "1 test rows have labels that the train part lacks" in note for note in load_report(artifact.folder).notes
    )
    scored = evaluate(recipe, artifact=artifact, store=store, scratch_root=tmp_path / "scratch")
    assert (scored.metrics["f1.ship"].value, scored.metrics["f1.ship"].n) == (0.0, 1)


def test_a_label_of_one_train_row_is_dropped_and_told(store, tmp_path):
    rows = texts(120)
    rows[0] = replace(rows[0], label="card|rare", split="train")
    store.upsert(rows, collection="topics")
    report = load_report(train_in(tmp_path, MultiLabel(Hashing(), collection="topics"), store=store).folder)
    assert any("rare" in note and "dropped" in note for note in report.notes)
    assert set(report.details["thresholds"]) == set(TOPICS)


@pytest.mark.parametrize(
    ("rows", "more", "found"),
    [
        ([replace(row, label="card") for row in texts(40)], {}, "1 label"),
        (texts(40), {"labels": "absent"}, "none of that name"),
        ([replace(row, metadata={"topics": ["a|b", "c"]}) for row in texts(40)], {"labels": "topics"}, "inside of one"),
    ],
)
def test_rows_that_cannot_be_learned_are_refused(store, tmp_path, rows, more, found):
    store.upsert(rows, collection="topics")
    with pytest.raises(DataError, match=found) as caught:
        train_in(tmp_path, MultiLabel(Hashing(), collection="topics", **more), store=store)
    assert caught.value.next


@pytest.mark.parametrize("more", [{"separator": " "}, {"adapt": "half"}, {"test_share": 2}, {"epochs": 0}])
def test_settings_that_cannot_be_are_refused_before_weights_load(more):
    with pytest.raises(ConfigError):
        MultiLabel(Transformer("no-such-model"), collection="topics", **more)
