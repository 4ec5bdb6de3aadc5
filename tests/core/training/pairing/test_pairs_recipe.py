"""Pairs whose halves are both about money belong together: a tiny model that reads both at once learns it."""

from __future__ import annotations

import csv
import gzip
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from mercat.artifacts import Artifacts
from mercat.encoders.hashing import Hashing
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError, DataError
from mercat.predictors import TrainedMatcher
from mercat.store import Store
from mercat.testing.predictors import MatcherContract, RerankerContract
from mercat.testing.training import RecipeContract, train_in
from mercat.training.pairing.pairs import Pairs
from mercat.training.report import load_report
from mercat.training.train import evaluate
from mercat.values import Example

QUICK = {"epochs": 2, "learning_rate": 3e-3, "head_learning_rate": 3e-2, "batch_size": 16, "max_tokens": 24}
LONGER = {**QUICK, "epochs": 10, "batch_size": 8}
FIRST, SECOND = ("card", "chip", "pin"), ("refund", "money", "return")
FILLER = ("please", "my", "the", "a", "when", "can", "how")


def pairs(rows, *, seed=0, labels=("no", "yes")):
    """Each half names one of two topics; `labels[1]` where both are money. Neither half tells by itself."""
    random, found = np.random.default_rng(seed), []
    for number in range(rows):
        topics = random.integers(2, size=2)
        halves = [
            " ".join(random.permutation([random.choice((FIRST, SECOND)[topic]), *random.choice(FILLER, 2)]))
            for topic in topics
        ]
        label = labels[int(topics.all())]
        found.append(Example(f"p{seed}-{number:04d}", halves[0], label, text_pair=halves[1]))
    return found


class TestPairsKeepTheContract(RecipeContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_bert):
        self.bert = tiny_bert

    def recipe(self):
        return Pairs(Transformer(str(self.bert)), collection="pairs", **QUICK)

    def fill(self, store):
        store.upsert(pairs(150), collection="pairs")


class TestNumbersKeepTheContract(TestPairsKeepTheContract):
    def recipe(self):
        return Pairs(Transformer(str(self.bert)), collection="pairs", target="numbers", **QUICK)

    def fill(self, store):
        store.upsert(pairs(150, labels=("1.5", "4.5")), collection="pairs")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_bert):
    folder = tmp_path_factory.mktemp("matcher")
    with Store.open(f"sqlite:///{folder}/mercat.db") as store:
        store.upsert(pairs(400), collection="pairs")
        recipe = Pairs(Transformer(str(tiny_bert)), collection="pairs", **LONGER)
        artifact = train_in(folder, recipe, store=store)
        scored = evaluate(recipe, artifact=artifact, store=store, scratch_root=folder / "scratch")
    return Artifacts(folder / "artifacts"), scored


class TestTrainedMatcher(MatcherContract, RerankerContract):
    @pytest.fixture(autouse=True)
    def _trained(self, trained):
        self.artifacts = trained[0]

    def matcher(self):
        return TrainedMatcher(self.artifacts, artifact="intents")

    def reranker(self):
        return self.matcher()


def test_it_learns_what_neither_text_tells_alone(trained):
    scored = trained[1]
    assert scored.metrics["accuracy"].value > 0.9
    assert scored.metrics["auroc"].value > 0.95
    assert {"f1", "ece"} <= set(scored.metrics)
    assert "cosine" in scored.baseline
    assert {"accuracy", "f1", "auroc"} <= set(scored.baseline_metrics)
    assert scored.differences["accuracy"].low > 0
    report = load_report(trained[0].open("intents").folder)
    assert report.details["positive"] == "yes"
    assert report.details["serving_difference"] < 1e-3


def test_a_reranker_puts_what_belongs_together_first(trained):
    texts = ["chip please how", "my money when", "a card can", "the refund please"]
    scores = TrainedMatcher(trained[0], artifact="intents").rerank("the return please", texts)
    assert set(np.argsort(-scores)[:2]) == {1, 3}
    (match,) = TrainedMatcher(trained[0], artifact="intents").match_many([("the return please", "my money when")])
    assert match.label == "yes"
    assert match.score == pytest.approx(scores[1], abs=1e-3)


def test_numbers_are_learned_and_given_back_in_their_own_units(store, tmp_path, tiny_bert):
    store.upsert(pairs(400, labels=("100", "300")), collection="pairs")
    recipe = Pairs(Transformer(str(tiny_bert)), collection="pairs", target="numbers", **LONGER)
    artifact = train_in(tmp_path, recipe, store=store)
    scored = evaluate(recipe, artifact=artifact, store=store, scratch_root=tmp_path / "scratch")
    assert scored.metrics["spearman"].value > 0.7
    assert scored.differences["mse"].high < 0
    matcher = TrainedMatcher(Artifacts(tmp_path / "artifacts"), artifact="intents")
    same, other = matcher.scores([("the return please", "my money when"), ("the chip please", "money how a")])
    assert same > 230 > 170 > other
    assert list(matcher.labels) == []


def test_an_interrupted_run_gives_the_figures_of_a_whole_one(store, tmp_path, tiny_bert):
    class Interrupted(Exception):
        pass

    def stop(stage, done, total, **figures):
        if stage == "train" and done == 9:
            raise Interrupted

    store.upsert(pairs(150), collection="pairs")
    encoder = Transformer(str(tiny_bert))
    with pytest.raises(Interrupted):
        train_in(
            tmp_path,
            Pairs(encoder, collection="pairs", checkpoint_every_s=0.0, **QUICK),
            store=store,
            progress=stop,
        )
    resumed = load_report(train_in(tmp_path, Pairs(encoder, collection="pairs", **QUICK), store=store).folder)
    whole = load_report(train_in(tmp_path / "whole", Pairs(encoder, collection="pairs", **QUICK), store=store).folder)
    assert (resumed.details["resumed_at"], whole.details["resumed_at"]) == (8, 0)
    assert resumed.details["history"] == whole.details["history"]
    assert resumed.metrics == whole.metrics


def test_lora_is_served_merged(store, tmp_path, tiny_bert):
    pytest.importorskip("peft")
    store.upsert(pairs(150), collection="pairs")
    recipe = Pairs(Transformer(str(tiny_bert)), collection="pairs", adapt="lora", rank=4, **QUICK)
    report = load_report(train_in(tmp_path, recipe, store=store).folder)
    assert report.counts["trainable_parameters"] < 0.4 * report.counts["parameters"]
    assert report.details["serving_difference"] < 1e-3


def test_more_labels_need_a_positive_one(store, tmp_path, tiny_bert):
    rows = [replace(row, label=("a", "b", "c")[number % 3]) for number, row in enumerate(pairs(90))]
    store.upsert(rows, collection="pairs")
    encoder = Transformer(str(tiny_bert))
    with pytest.raises(ConfigError, match="a, b, c"):
        train_in(tmp_path, Pairs(encoder, collection="pairs", **QUICK), store=store)
    with pytest.raises(ConfigError, match="positive = 'd'"):
        train_in(tmp_path, Pairs(encoder, collection="pairs", positive="d", **QUICK), store=store)
    artifact = train_in(tmp_path, Pairs(encoder, collection="pairs", positive="b", **QUICK), store=store)
    assert load_report(artifact.folder).details["positive"] == "b"


@pytest.mark.parametrize(
    ("rows", "more", "found"),
    [
        ([replace(row, text_pair="") for row in pairs(40)], {}, "None of its 40 rows has a text_pair"),
        ([replace(row, label="yes") for row in pairs(40)], {}, "1 label"),
        (pairs(40), {"target": "numbers"}, "the label '(yes|no)'"),
        ([replace(row, label="nan") for row in pairs(40)], {"target": "numbers"}, "the label 'nan'"),
        ([replace(row, label="2") for row in pairs(40)], {"target": "numbers"}, "train part are 2"),
    ],
)
def test_rows_that_cannot_be_learned_are_refused(store, tmp_path, tiny_bert, rows, more, found):
    store.upsert(rows, collection="pairs")
    with pytest.raises(DataError, match=found) as caught:
        train_in(tmp_path, Pairs(Transformer(str(tiny_bert)), collection="pairs", **QUICK, **more), store=store)
    assert caught.value.next


def test_rows_without_a_second_text_are_left_out_and_told(store, tmp_path, tiny_bert):
    rows = pairs(120)
    store.upsert([replace(rows[0], text_pair=""), *rows[1:]], collection="pairs")
    artifact = train_in(tmp_path, Pairs(Transformer(str(tiny_bert)), collection="pairs", **QUICK), store=store)
    assert "1 rows without a second text were left out" in load_report(artifact.folder).notes


@pytest.mark.parametrize("more", [{"target": "x"}, {"target": "numbers", "positive": "yes"}, {"validation_share": 2}])
def test_settings_that_cannot_be_are_refused_before_weights_load(more):
    with pytest.raises(ConfigError):
        Pairs(Transformer("no-such-model"), collection="pairs", **more)


def test_an_encoder_without_weights_is_refused(store, tmp_path):
    store.upsert(pairs(60), collection="pairs")
    with pytest.raises(ConfigError, match="transformer"):
        train_in(tmp_path, Pairs(Hashing(), collection="pairs", **QUICK), store=store)


def test_an_artifact_of_another_kind_is_refused(tmp_path):
    artifacts = Artifacts(tmp_path)
    with artifacts.create("intents", kind="classifier", recipe="linear"):
        pass
    with pytest.raises(ArtifactError, match=r"kind 'classifier', made by 'linear'.*pairs"):
        TrainedMatcher(artifacts, artifact="intents").scores([("a", "b")])


@pytest.mark.slow
def test_real_paraphrases_are_told_apart(store, tmp_path):
    """A thousand of LCQMC's pairs and the transformer for Chinese: better than its cosine with the best threshold."""
    if "MERCAT_DATA" not in os.environ or "MERCAT_MODELS" not in os.environ:
        pytest.skip("MERCAT_DATA and MERCAT_MODELS are not set")
    rows = []
    with gzip.open(Path(os.environ["MERCAT_DATA"]) / "lcqmc" / "lcqmc.csv.gz", "rt", encoding="utf-8") as opened:
        listed = list(csv.DictReader(opened))
    for part, split, start, end in (
        ("valid", "train", 0, 1000),
        ("valid", "validation", 1000, 1200),
        ("test", "test", 0, 400),
    ):
        for at, each in enumerate([one for one in listed if one["split"] == part][start:end]):
            row = Example(f"{split}{at}", each["text_a"], each["label"], text_pair=each["text_b"], split=split)
            rows.append(row)
    store.upsert(rows, collection="pairs")
    encoder = Transformer(str(Path(os.environ["MERCAT_MODELS"]) / "e5-small-zh-en"))
    recipe = Pairs(encoder, collection="pairs", epochs=2, max_tokens=48)
    artifact = train_in(tmp_path, recipe, store=store)
    scored = evaluate(recipe, artifact=artifact, store=store, scratch_root=tmp_path / "scratch")
    assert scored.metrics["accuracy"].value > 0.7
