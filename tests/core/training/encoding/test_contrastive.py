"""An encoder learns from pairs, or from labelled rows, what belongs together."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from mercat.artifacts import Artifacts
from mercat.encoders.hashing import Hashing
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError, DataError
from mercat.testing.training import RecipeContract, topic_examples, train_in
from mercat.training.encoding.contrastive import Contrastive
from mercat.training.report import load_report
from mercat.training.train import evaluate
from mercat.values import Example

FAST = {"epochs": 3, "learning_rate": 2e-3, "batch_size": 16, "collection": "intents"}


def pairs(rows, *, seed=0):
    """Return questions with an answer to each, in other words of the same topic: three answers in all."""
    answers = {
        "card": "your plastic and its chip",
        "refund": "money back from the merchant",
        "transfer": "the wire to an iban abroad",
    }
    return [
        Example(row.id, row.text, "", text_pair=f"{answers[row.label]} {number}")
        for number, row in enumerate(topic_examples(rows, seed=seed))
    ]


@pytest.fixture
def recipe(tiny_bert):
    return lambda **changes: Contrastive(Transformer(str(tiny_bert)), **{**FAST, **changes})


class TestContrastiveKeepsTheContract(RecipeContract):
    @pytest.fixture(autouse=True)
    def _tiny(self, tiny_bert):
        self.encoder = Transformer(str(tiny_bert))

    def recipe(self):
        return Contrastive(self.encoder, **FAST, hard_negatives=1)

    def fill(self, store):
        store.upsert(pairs(120), collection="intents")


def test_rows_of_a_label_find_each_other_better_than_before(recipe, store, tmp_path):
    store.upsert(topic_examples(150), collection="intents")
    artifact = train_in(tmp_path, recipe(epochs=4), store=store)
    report = load_report(artifact.folder)
    assert report.metrics["mrr@10"].value >= report.details["before"]["mrr@10"]
    found = evaluate(recipe(), artifact=artifact, store=store, scratch_root=tmp_path / "scratch")
    assert found.baseline == "the encoder before"
    assert found.metrics["mrr@10"].value > 0.8
    assert found.counts["queries"] > 0


def test_the_artifact_is_an_encoder_of_one_line_in_the_config(recipe, store, tmp_path):
    store.upsert(pairs(60), collection="intents")
    artifact = train_in(tmp_path, recipe(epochs=1), store=store)
    encoder = Transformer(artifact="intents", artifacts=Artifacts(tmp_path / "artifacts"))
    assert encoder.fingerprint == artifact.encoder_fingerprint
    assert encoder.encode(["card chip"]).shape == (1, 32)
    assert encoder.max_tokens == 64


def test_an_interrupted_run_goes_on_with_the_negatives_that_it_had(recipe, resumes):
    """The third epoch learns from what the encoder found after the second, which the weights of now would not find."""
    resumed, whole = resumes(lambda **more: recipe(hard_negatives=2, ceiling=9.0, **more), at=19)
    assert resumed.encoder_fingerprint and resumed.metrics.keys() == whole.metrics.keys()
    texts = [row.text for row in topic_examples(20, seed=4)]
    ours, theirs = (Transformer.from_folder(each.folder / "encoder").encode(texts) for each in (resumed, whole))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_hard_negatives_are_told_and_change_what_is_learned(recipe, store, tmp_path):
    store.upsert(pairs(60), collection="intents")
    plain = train_in(tmp_path / "plain", recipe(epochs=1), store=store)
    hard = train_in(tmp_path / "hard", recipe(epochs=1, hard_negatives=1, mine="once"), store=store)
    assert any("have hard negatives" in note for note in load_report(hard.folder).notes)
    assert plain.encoder_fingerprint != hard.encoder_fingerprint


def test_only_pairs_of_the_positive_label_count(recipe, store, tmp_path):
    rows = [
        Example(row.id, row.text, "01"[number % 2], text_pair=row.text_pair) for number, row in enumerate(pairs(80))
    ]
    store.upsert(rows, collection="intents")
    report = load_report(train_in(tmp_path, recipe(epochs=1, positive_label="1"), store=store).folder)
    assert sum(report.counts[part] for part in ("train", "validation", "test")) == 40


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": 0.0}, {"hard_negatives": -1}, {"batch_size": 1}, {"mine": "never"}, {"ceiling": float("inf")}],
)
def test_settings_out_of_range_are_refused(recipe, wrong):
    with pytest.raises(ConfigError):
        recipe(**wrong)


def test_what_cannot_learn_is_refused(recipe, store, tmp_path):
    store.upsert(pairs(60), collection="intents")
    with pytest.raises(ConfigError, match="weights that can learn"):
        train_in(tmp_path, Contrastive(Hashing(), **FAST), store=store)
    with pytest.raises(ConfigError, match="no layer above"):
        train_in(tmp_path, recipe(freeze_layers=9), store=store)
    store.upsert([row for row in topic_examples(30) if row.label == "card"], collection="one")
    with pytest.raises(DataError, match="two labels"):
        train_in(tmp_path, recipe(collection="one"), store=store)
