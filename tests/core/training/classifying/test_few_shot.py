"""Few labelled rows: contrast, then a head."""

from __future__ import annotations

import numpy as np
import pytest

from mercat.artifacts import Artifacts
from mercat.classifiers.trained import TrainedClassifier
from mercat.encoders.hashing import Hashing
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError, DataError
from mercat.heads import LinearHead, MemoryHead, load_head
from mercat.testing.training import RecipeContract, topic_examples, train_in
from mercat.training.classifying.few_shot import FewShot
from mercat.training.report import load_report
from mercat.values import Example

FAST = {"epochs": 3, "learning_rate": 2e-3, "freeze_layers": 0, "collection": "intents"}


@pytest.fixture
def recipe(tiny_bert):
    return lambda **changes: FewShot(Transformer(str(tiny_bert)), **{**FAST, **changes})


class TestFewShotKeepsTheContract(RecipeContract):
    @pytest.fixture(autouse=True)
    def _tiny(self, tiny_bert):
        self.encoder = Transformer(str(tiny_bert))

    def recipe(self):
        return FewShot(self.encoder, **FAST)

    def fill(self, store):
        store.upsert(topic_examples(60), collection="intents")


def test_contrast_draws_rows_of_a_label_together_and_others_apart(recipe, tiny_bert, store, tmp_path):
    store.upsert(topic_examples(90), collection="intents")
    artifact = train_in(tmp_path, recipe(refit=False), store=store)
    assert artifact.metrics["accuracy"]["value"] > 0.7
    fresh = topic_examples(200, seed=5)
    frozen, tuned = Transformer(str(tiny_bert)), Transformer.from_folder(artifact.folder / "encoder")
    before, after = (apart(encoder, fresh) for encoder in (frozen, tuned))
    assert after > 2 * before > 0, (before, after)
    classifier = TrainedClassifier(Artifacts(tmp_path / "artifacts"), artifact="intents")
    found = classifier.predict_many([row.text for row in fresh])
    assert np.mean([each.label == row.label for each, row in zip(found, fresh, strict=True)]) > 0.75


def apart(encoder, rows):
    """By how much the mean cosine of rows of one label is above that of rows of two."""
    vectors = encoder.encode([row.text for row in rows], role="query")
    labels = np.array([row.label for row in rows])
    alike, cosines = labels[:, None] == labels[None, :], vectors @ vectors.T
    itself = np.eye(len(rows), dtype=bool)
    return cosines[alike & ~itself].mean() - cosines[~alike].mean()


def test_a_refit_learns_from_the_validation_rows_too_and_says_so(recipe, store, tmp_path):
    store.upsert(topic_examples(60), collection="intents")
    kept = train_in(tmp_path / "kept", recipe(refit=False), store=store)
    again = train_in(tmp_path / "again", recipe(), store=store)
    counts = load_report(kept.folder).counts
    remembered = [len(load_head(each.folder / "head").vectors) for each in (kept, again)]
    names = 3
    assert remembered == [counts["train"] + names, counts["train"] + counts["validation"] + names]
    assert kept.metrics == again.metrics
    assert any("learned from too" in note for note in load_report(again.folder).notes)
    assert kept.encoder_fingerprint != again.encoder_fingerprint


def test_names_of_labels_stand_beside_their_rows(recipe, store, tmp_path):
    few = recipe(descriptions={"card": "plastic chip"})
    assert few._names(["card", "lost_or-stolen", "17"]) == {"card": "plastic chip", "lost_or-stolen": "lost or stolen"}
    with pytest.raises(ConfigError, match="descriptions of card"):
        few._names(["refund", "transfer"])
    store.upsert(topic_examples(60), collection="intents")
    silent = train_in(tmp_path, recipe(label_texts=False, memory=0.0, refit=False), store=store)
    assert load_report(silent.folder).counts["label_texts"] == 0
    assert isinstance(load_head(silent.folder / "head"), LinearHead)


@pytest.mark.parametrize("memory", ["auto", 0.0])
def test_all_that_was_chosen_is_kept_in_the_refit(recipe, store, tmp_path, memory):
    store.upsert(topic_examples(60), collection="intents")
    make = {"memory": memory, "target_error": 0.0}
    held, refitted = (
        load_head(train_in(tmp_path / str(refit), recipe(refit=refit, **make), store=store).folder / "head")
        for refit in (False, True)
    )
    assert type(held) is type(refitted) is (MemoryHead if memory else LinearHead)
    assert held.threshold == refitted.threshold > 0
    assert held.temperature == refitted.temperature


def test_a_killed_run_ends_in_the_same_figures(recipe, resumes):
    resumed, whole = resumes(lambda **more: recipe(**more), at=7)
    ours, theirs = (load_head(each.folder / "head") for each in (resumed, whole))
    np.testing.assert_allclose(ours.linear.weights, theirs.linear.weights, atol=1e-3)


def test_bad_settings_and_encoders_are_refused(recipe, store, tmp_path):
    for wrong in ({"temperature": 0.0}, {"calibration": "isotonic"}, {"strength": -1.0}, {"freeze_layers": -1}):
        with pytest.raises(ConfigError):
            recipe(**wrong)
    store.upsert(topic_examples(60), collection="intents")
    with pytest.raises(ConfigError, match="weights that can learn"):
        train_in(tmp_path, FewShot(Hashing(), **FAST), store=store)


def test_huge_and_empty_texts_and_labels_that_train_lacks_do_no_harm(recipe, store, tmp_path):
    odd = [
        Example("huge", "card " * 20_000, "card"),
        Example("strange", "\u200b \U0001f600", "card"),
        Example("empty", " ", "card"),
        Example("new-1", "my loan please", "loan", split="validation"),
        Example("new-2", "a loan for me", "loan", split="validation"),
        *topic_examples(12, seed=3, split="validation"),
    ]
    store.upsert([*topic_examples(60), *odd], collection="intents")
    artifact = train_in(tmp_path, recipe(epochs=1), store=store)
    assert load_head(artifact.folder / "head").labels == ("card", "refund", "transfer")
    assert artifact.metrics["accuracy"]["value"] < 1
    assert any("labels that the train part lacks" in note for note in load_report(artifact.folder).notes)


def test_one_label_is_refused(recipe, store, tmp_path):
    store.upsert([row for row in topic_examples(60) if row.label == "card"], collection="intents")
    with pytest.raises(DataError, match="two labels"):
        train_in(tmp_path, recipe(), store=store)
