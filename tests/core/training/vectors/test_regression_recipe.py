"""Texts whose number is the sum of what their words are worth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from mercat.artifacts import Artifacts
from mercat.encoders.hashing import Hashing
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError, DataError
from mercat.predictors import TrainedRegressor
from mercat.store import Store
from mercat.testing.predictors import RegressorContract
from mercat.testing.training import RecipeContract, train_in
from mercat.training.report import load_report
from mercat.training.train import evaluate
from mercat.training.vectors.regression import Regression
from mercat.values import Example

QUICK = {"epochs": 2, "learning_rate": 3e-3, "batch_size": 16, "max_tokens": 16}
WORTH = {"refund": 30, "money": 20, "return": 10, "card": -10, "chip": -20, "pin": -30}
FILLER = ("please", "my", "the", "a", "when", "can", "how")


def texts(rows, *, seed=0):
    random, found = np.random.default_rng(seed), []
    for number in range(rows):
        some = list(random.choice(list(WORTH), 2))
        value = 200 + sum(WORTH[word] for word in some) + random.normal(scale=3)
        text = " ".join(random.permutation([*some, *random.choice(FILLER, 2)]))
        found.append(Example(f"n{seed}-{number:04d}", text, f"{value:.2f}"))
    return found


class TestFrozenKeepsTheContract(RecipeContract):
    def recipe(self):
        return Regression(Hashing(), collection="ratings")

    def fill(self, store):
        store.upsert(texts(150), collection="ratings")


class TestFineTunedKeepsTheContract(RecipeContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_bert):
        self.bert = tiny_bert

    def recipe(self):
        return Regression(Transformer(str(self.bert)), collection="ratings", adapt="full", **QUICK)

    def fill(self, store):
        store.upsert(texts(150), collection="ratings")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regressor")
    with Store.open(f"sqlite:///{folder}/mercat.db") as store:
        store.upsert(texts(900), collection="ratings")
        recipe = Regression(Hashing(), collection="ratings", validation_share=0.3, test_share=0.3, coverage=0.8)
        artifact = train_in(folder, recipe, store=store)
        scored = evaluate(recipe, artifact=artifact, store=store, scratch_root=folder / "scratch")
    return Artifacts(folder / "artifacts"), scored


class TestTrainedRegressor(RegressorContract):
    @pytest.fixture(autouse=True)
    def _trained(self, trained):
        self.artifacts = trained[0]

    def regressor(self):
        return TrainedRegressor(self.artifacts, artifact="intents", encoder=Hashing())


def test_numbers_come_in_their_own_units_and_their_interval_holds_what_it_promised(trained):
    scored = trained[1]
    assert scored.metrics["r2"].value > 0.8
    assert scored.metrics["spearman"].value > 0.9
    assert scored.metrics["interval_coverage"].low < 0.8 < scored.metrics["interval_coverage"].high
    assert {"mse", "mae", "r2", "spearman"} == set(scored.differences)
    regressor = TrainedRegressor(trained[0], artifact="intents", encoder=Hashing())
    high, low = regressor.estimate_many(["refund money please how", "pin chip please how"])
    assert high.value == pytest.approx(250, abs=12)
    assert low.value == pytest.approx(150, abs=12)
    assert high.high - high.value == pytest.approx(high.value - high.low)
    assert 3 < high.high - high.value < 20
    assert regressor.coverage == 0.8


@pytest.mark.parametrize("adapt", ["full", "lora"])
def test_a_body_that_learned_is_served_without_another_encoder(store, tmp_path, tiny_bert, adapt):
    if adapt == "lora":
        pytest.importorskip("peft")
    store.upsert(texts(150), collection="ratings")
    recipe = Regression(Transformer(str(tiny_bert)), collection="ratings", adapt=adapt, rank=4, loss="mse", **QUICK)
    report = load_report(train_in(tmp_path, recipe, store=store).folder)
    assert report.details["serving_difference"] < 1e-3
    assert len(report.details["history"]) == 2
    assert report.metrics["spearman"].value > 0.5
    (found,) = TrainedRegressor(Artifacts(tmp_path / "artifacts"), artifact="intents").estimate_many(["my chip please"])
    assert 100 < found.value < 300


def test_an_interrupted_run_gives_the_figures_of_a_whole_one(store, tmp_path, tiny_bert):
    class Interrupted(Exception):
        pass

    def stop(stage, done, total, **figures):
        if stage == "train" and done == 9:
            raise Interrupted

    def recipe(**more):
        return Regression(Transformer(str(tiny_bert)), collection="ratings", adapt="full", **QUICK, **more)

    store.upsert(texts(150), collection="ratings")
    with pytest.raises(Interrupted):
        train_in(tmp_path, recipe(checkpoint_every_s=0.0), store=store, progress=stop)
    resumed = load_report(train_in(tmp_path, recipe(), store=store).folder)
    whole = load_report(train_in(tmp_path / "whole", recipe(), store=store).folder)
    assert (resumed.details["resumed_at"], whole.details["resumed_at"]) == (8, 0)
    assert resumed.details["history"] == whole.details["history"]
    assert resumed.metrics == whole.metrics


def test_few_rows_promise_no_interval(store, tmp_path):
    store.upsert(texts(50), collection="ratings")
    artifact = train_in(tmp_path, Regression(Hashing(), collection="ratings"), store=store)
    assert load_report(artifact.folder).details["interval"] is None
    regressor = TrainedRegressor(Artifacts(tmp_path / "artifacts"), artifact="intents", encoder=Hashing())
    assert regressor.estimate_many(["my chip"])[0].high == math.inf


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([replace(row, label="dear") for row in texts(40)], "the label 'dear'"),
        ([replace(row, label="inf") for row in texts(40)], "the label 'inf'"),
        ([replace(row, label="3") for row in texts(40)], "train part are 3"),
        ([replace(row, text_pair="b") for row in texts(40)], "pairs of texts"),
    ],
)
def test_rows_that_cannot_be_learned_are_refused(store, tmp_path, rows, found):
    store.upsert(rows, collection="ratings")
    with pytest.raises(DataError, match=found) as caught:
        train_in(tmp_path, Regression(Hashing(), collection="ratings"), store=store)
    assert caught.value.next


def test_an_artifact_of_another_kind_is_refused(tmp_path):
    artifacts = Artifacts(tmp_path)
    with artifacts.create("intents", kind="classifier", recipe="linear"):
        pass
    with pytest.raises(ArtifactError, match=r"kind 'classifier', made by 'linear'.*regression"):
        TrainedRegressor(artifacts, artifact="intents").estimate_many(["a"])


@pytest.mark.parametrize("more", [{"coverage": 1.0}, {"loss": "x"}, {"adapt": "half"}, {"test_share": 2}])
def test_settings_that_cannot_be_are_refused_before_weights_load(more):
    with pytest.raises(ConfigError):
        Regression(Transformer("no-such-model"), collection="ratings", **more)
