from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from mercat.artifacts import Artifacts, load_arrays
from mercat.classifiers.trained import TrainedClassifier
from mercat.encoders import export, parity
from mercat.encoders.hashing import Hashing
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError, DataError, UnknownName
from mercat.heads import load_head
from mercat.store import Store
from mercat.testing.training import RecipeContract, topic_examples, train_in
from mercat.training.base import Run
from mercat.training.classifying.few_shot import FewShot
from mercat.training.classifying.full import Full
from mercat.training.classifying.linear import Linear
from mercat.training.data import read_parts, row_hashes
from mercat.training.progress import silent
from mercat.training.report import load_report
from mercat.training.smaller import quantise
from mercat.training.smaller.quantise import Quantise
from mercat.training.train import train

QUICK = {"epochs": 2, "learning_rate": 3e-3, "head_learning_rate": 3e-2, "batch_size": 16, "target_error": 0.02}


@pytest.fixture(scope="module")
def originals(tmp_path_factory, tiny_bert):
    """Artifacts with "tuned", a body of its own, "shared", a head, and "remembering", a head with a memory."""
    folder = tmp_path_factory.mktemp("originals")
    made = Artifacts(folder / "artifacts")
    body = Transformer(str(tiny_bert))
    recipes = {
        "tuned": Full(body, collection="intents", **QUICK),
        "shared": Linear(body, collection="intents", strength=1.0),
        "remembering": Linear(body, collection="intents", strength=1.0, memory=0.2),
        "hashed": Linear(Hashing(), collection="intents", strength=1.0),
    }
    with Store.open(f"sqlite:///{folder}/mercat.db") as store:
        store.upsert(topic_examples(150), collection="intents")
        for name, recipe in recipes.items():
            train(recipe, name=name, store=store, artifacts=made, scratch_root=folder / "scratch", recipe_name="any")
    return made


@pytest.fixture
def filled(store):
    store.upsert(topic_examples(150), collection="intents")
    return store


class TestQuantiseKeepsTheContract(RecipeContract):
    @pytest.fixture(autouse=True)
    def _originals(self, originals):
        self.originals = originals

    def recipe(self):
        return Quantise(self.originals, artifact="tuned", collection="intents", max_drop=0.1)

    def fill(self, store):
        store.upsert(topic_examples(150), collection="intents")

    def test_it_is_smaller_and_says_by_how_much(self, made):
        artifact = made[1]
        details = load_report(artifact.folder).details
        graph, weights = artifact.folder / "encoder/model.onnx", self.originals.open("tuned").folder / "encoder"
        assert details["from"] == ["tuned", "0001"]
        tokens = (weights / "tokenizer.json").stat().st_size
        assert details["after"]["megabytes"] == pytest.approx((graph.stat().st_size + tokens) / 1e6)
        before = (weights / "model.safetensors").stat().st_size + tokens
        assert details["before"]["megabytes"] == pytest.approx(before / 1e6)
        assert details["after"]["accuracy"] >= details["before"]["accuracy"] - 0.1
        assert details["cosine"]["least"] >= 0.98
        assert min(details[when]["texts_per_s"] for when in ("before", "after")) > 0
        (note,) = [each for each in load_report(artifact.folder).notes if each.startswith("Int8: ")]
        assert f"{details['after']['texts_per_s']:.0f} after" in note

    def test_the_graph_holds_int8(self, made):
        import onnx

        graph = onnx.load(str(made[1].folder / "encoder/model.onnx")).graph
        kinds = [each.data_type for each in graph.initializer if len(each.dims) == 2 and min(each.dims) >= 32]
        assert kinds.count(onnx.TensorProto.INT8) >= 12, "two layers of six matrices"

    def test_it_answers_as_the_original_with_its_threshold(self, made):
        ours = TrainedClassifier(Artifacts(made[0] / "artifacts"), artifact="intents")
        theirs = TrainedClassifier(self.originals, artifact="tuned")
        texts = [row.text for row in topic_examples(30, seed=3)]
        assert ours.threshold == theirs.threshold > 0
        agreed = ours.scores(texts).argmax(axis=1) == theirs.scores(texts).argmax(axis=1)
        assert agreed.mean() > 0.9

    def test_it_knows_the_rows_that_the_original_knows(self, made):
        ours, theirs = made[1].folder, self.originals.open("tuned").folder
        assert (ours / "rows.safetensors").read_bytes() == (theirs / "rows.safetensors").read_bytes()

    def test_it_answers_without_torch(self, made):
        script = textwrap.dedent(f"""
            import json, sys
            from pathlib import Path
            for name in ("torch", "transformers", "sklearn"):
                sys.modules[name] = None
            from mercat.artifacts import Artifacts
            from mercat.classifiers import TrainedClassifier
            classifier = TrainedClassifier(Artifacts(Path({str(made[0] / "artifacts")!r})), artifact="intents")
            print(json.dumps(classifier.scores(["card stolen"]).tolist()))
        """)
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ})
        assert run.returncode == 0, run.stderr
        here = TrainedClassifier(Artifacts(made[0] / "artifacts"), artifact="intents").scores(["card stolen"])
        np.testing.assert_allclose(json.loads(run.stdout), here, atol=1e-5)


def test_a_head_on_the_shared_encoder_gets_an_encoder_of_its_own(originals, filled, tmp_path, tiny_bert):
    body = Transformer(str(tiny_bert))
    recipe = Quantise(originals, artifact="shared", collection="intents", encoder=body, max_drop=0.1)
    artifact = train_in(tmp_path, recipe, store=filled)
    before, after = (load_head(folder / "head") for folder in (originals.open("shared").folder, artifact.folder))
    np.testing.assert_array_equal(before.weights, after.weights)
    assert before.fingerprint != after.fingerprint == artifact.encoder_fingerprint
    assert TrainedClassifier(Artifacts(tmp_path / "artifacts"), artifact="intents").scores(["card"]).shape == (1, 3)


def test_nothing_is_kept_when_accuracy_falls_and_the_figures_are_told(originals, filled, tmp_path, monkeypatch):
    told = iter([0.95, 0.9])
    monkeypatch.setattr(quantise, "same", lambda *_: next(told))
    with pytest.raises(ArtifactError, match=r"0\.9000, that of the original 0\.9500") as caught:
        train_in(tmp_path, Quantise(originals, artifact="tuned", collection="intents"), store=filled)
    assert "max_drop = 0.050" in caught.value.next
    assert Artifacts(tmp_path / "artifacts").names() == []


def test_nothing_is_kept_when_vectors_are_too_far_off(originals, filled, tmp_path, monkeypatch):
    monkeypatch.setitem(export.LEAST, "int8", 1.1)
    assert parity.LEAST is export.LEAST
    with pytest.raises(ArtifactError, match=r"cosine to the original is [01]\.\d+ in int8; at least 1\.1") as caught:
        train_in(tmp_path, Quantise(originals, artifact="tuned", collection="intents"), store=filled)
    assert "distill" in caught.value.next
    assert Artifacts(tmp_path / "artifacts").names() == []


@pytest.mark.parametrize(
    ("artifact", "encoder", "found"),
    [
        ("shared", None, "the recipe names none"),
        ("remembering", "tiny", "remembers vectors"),
        ("hashed", "hashing", "without weights to round"),
    ],
)
def test_what_cannot_be_quantised_is_refused(originals, filled, tmp_path, tiny_bert, artifact, encoder, found):
    made = {"tiny": Transformer(str(tiny_bert)), "hashing": Hashing(), None: None}[encoder]
    recipe = Quantise(originals, artifact=artifact, collection="intents", encoder=made)
    with pytest.raises(ConfigError, match=found):
        train_in(tmp_path, recipe, store=filled)


def test_what_is_int8_already_is_refused(originals, filled, tmp_path):
    train_in(tmp_path, Quantise(originals, artifact="tuned", collection="intents", max_drop=0.1), store=filled)
    again = Quantise(Artifacts(tmp_path / "artifacts"), artifact="intents", collection="intents")
    with pytest.raises(ConfigError, match=r"onnx, int8\), without weights"):
        train_in(tmp_path / "again", again, store=filled)


def test_an_artifact_that_is_not_there_is_told(originals, filled, tmp_path):
    with pytest.raises(UnknownName, match="tunde"):
        train_in(tmp_path, Quantise(originals, artifact="tunde", collection="intents"), store=filled)


def test_rows_of_another_collection_cannot_calibrate(originals, store, tmp_path):
    store.upsert(topic_examples(60, seed=9), collection="intents")
    run = Run("intents", store, tmp_path / "scratch", 0, silent)
    with pytest.raises(DataError, match="none of the 15 that it was chosen on"):
        Quantise(originals, artifact="tuned", collection="intents").train(run, None)


@pytest.fixture(scope="module")
def refitted(tmp_path_factory, tiny_bert):
    """Artifacts with "few", a few-shot classifier that learned from its validation rows too in the end."""
    folder = tmp_path_factory.mktemp("refitted")
    made, quick = Artifacts(folder / "artifacts"), {"epochs": 1, "freeze_layers": 0, "memory": 0.0}
    with Store.open(f"sqlite:///{folder}/mercat.db") as store:
        store.upsert(topic_examples(90), collection="intents")
        recipe = FewShot(Transformer(str(tiny_bert)), collection="intents", **quick)
        train(recipe, name="few", store=store, artifacts=made, scratch_root=folder / "scratch", recipe_name="few-shot")
    return made


def test_one_that_was_refitted_is_refused_while_no_other_rows_are_there(refitted, store, tmp_path):
    store.upsert(topic_examples(90), collection="intents")
    recipe = Quantise(refitted, artifact="few", collection="intents", validation_share=0.2)
    with pytest.raises(DataError, match="made by 'few-shot' and learned from them as well") as caught:
        train_in(tmp_path, recipe, store=store)
    assert caught.value.next.startswith("refit = false")


def test_one_that_was_refitted_is_judged_on_rows_that_came_in_since(refitted, store, tmp_path):
    store.upsert([*topic_examples(90), *topic_examples(60, seed=8)], collection="intents")
    recipe = Quantise(refitted, artifact="few", collection="intents", validation_share=0.2, max_drop=1.0)
    artifact = train_in(tmp_path, recipe, store=store)
    saved = load_arrays(refitted.open("few").folder / "rows.safetensors")
    new = [row for row in read_parts(store, "intents", validation_share=0.2).validation if "-8-" in row.id]
    assert not np.isin(row_hashes(new), np.concatenate([saved["train"], saved["test"]])).any()
    report = load_report(artifact.folder)
    assert report.metrics["accuracy"].n == len(new) > 0
    assert any(f"on {len(new)} validation rows that came in since" in note for note in report.notes)


@pytest.mark.parametrize("settings", [{"max_drop": -0.1}, {"target_error": 2.0}, {"test_share": 0.95}])
def test_settings_that_cannot_be_are_refused_before_anything_is_opened(tmp_path, settings):
    (name,) = settings
    with pytest.raises(ConfigError, match=f"{name} = "):
        Quantise(Artifacts(tmp_path), artifact="none", collection="intents", **settings)
