"""An encoder gets used to texts without labels."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from mercat.artifacts import Artifacts
from mercat.encoders.hashing import Hashing
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError, DataError
from mercat.testing.training import RecipeContract, topic_examples, train_in
from mercat.training.contrast.views import thinned
from mercat.training.encoding.denoising import Denoising
from mercat.training.report import load_report
from mercat.values import Document

FAST = {"epochs": 3, "learning_rate": 2e-3, "batch_size": 16, "collection": "intents"}


def letters(rows, *, seed=0):
    """Documents of six made-up words each."""
    return [Document(f"letter-{at}", row.text) for at, row in enumerate(topic_examples(rows, seed=seed))]


@pytest.fixture
def recipe(tiny_bert):
    return lambda **changes: Denoising(Transformer(str(tiny_bert)), **{**FAST, **changes})


class TestDenoisingKeepsTheContract(RecipeContract):
    @pytest.fixture(autouse=True)
    def _tiny(self, tiny_bert):
        self.encoder = Transformer(str(tiny_bert))

    def recipe(self):
        return Denoising(self.encoder, **FAST)

    def fill(self, store):
        store.upsert(letters(150), collection="intents")


def test_a_text_is_known_again_by_less_of_it_than_before(recipe, store, tmp_path):
    store.upsert(letters(600), collection="intents")
    artifact = train_in(tmp_path, recipe(epochs=2, validation_share=0.3), store=store)
    report = load_report(artifact.folder)
    assert report.metrics["mrr@10"].value > report.details["before"]["mrr@10"] + 0.05
    encoder = Transformer(artifact="intents", artifacts=Artifacts(tmp_path / "artifacts"))
    assert encoder.fingerprint == artifact.encoder_fingerprint


def test_an_interrupted_run_ends_as_a_whole_one(recipe, resumes):
    resumed, whole = resumes(lambda **more: recipe(**more), at=11)
    texts = [row.text for row in topic_examples(20, seed=4)]
    ours, theirs = (Transformer.from_folder(each.folder / "encoder").encode(texts) for each in (resumed, whole))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_tokens_are_deleted_between_those_that_stay():
    ids, chances = [1, 9, 11, 12, 13, 2], np.array([0, 0, 0.1, 0.5, 0.9, 0], dtype=np.float32)
    assert thinned(ids, chances, first=2, deletion=0.0) == ids
    assert thinned(ids, chances, first=2, deletion=0.4) == [1, 9, 12, 13, 2]
    assert thinned(ids, chances, first=2, deletion=0.95) == [1, 9, 13, 2]
    assert thinned([1, 2], chances[:2], first=2, deletion=0.95) == [1, 2]
    assert thinned([1], chances[:1], first=0, deletion=0.95) == [1]


@pytest.mark.parametrize(
    "wrong", [{"deletion": 1.0}, {"temperature": -1.0}, {"batch_size": 1}, {"validation_share": 0.0}, {"max_tokens": 0}]
)
def test_settings_out_of_range_are_refused(recipe, wrong):
    with pytest.raises(ConfigError):
        recipe(**wrong)


def test_what_cannot_be_learned_from_is_refused(recipe, store, tmp_path):
    store.upsert([Document(f"{at}", "always the same text") for at in range(40)], collection="intents")
    with pytest.raises(DataError, match="different text"):
        train_in(tmp_path, recipe(), store=store)
    with pytest.raises(ConfigError, match="weights that can learn"):
        train_in(tmp_path, Denoising(Hashing(), **FAST), store=store)


def test_huge_texts_and_signs_alone_do_no_harm(recipe, store, tmp_path):
    odd = [Document("huge", "card " * 20_000), Document("sign", "\U0001f600"), Document("empty", " ")]
    store.upsert([*letters(60), *odd], collection="intents")
    assert load_report(train_in(tmp_path, recipe(epochs=1), store=store).folder).counts["train"] > 40
