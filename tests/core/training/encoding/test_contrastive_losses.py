"""The recipe `contrastive` with losses of sentence-transformers: a tiny model learns by each of them."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

pytest.importorskip("torch")

from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError, DataError
from mercat.testing.training import RecipeContract, topic_examples, train_in
from mercat.training.encoding.contrastive import Contrastive
from mercat.training.report import load_report
from mercat.training.train import evaluate
from mercat.values import Example

pytestmark = pytest.mark.skipif(
    find_spec("sentence_transformers") is None, reason="sentence-transformers is not installed"
)
FAST = {"epochs": 3, "learning_rate": 2e-3, "batch_size": 16, "device": "cpu", "dtype": "float32"}
OF_PAIRS = ("cosent", "angle", "cosine", "contrastive", "online-contrastive")
BATCHED = ("batch-hard-triplet", "batch-hard-soft-margin-triplet", "batch-semi-hard-triplet", "batch-all-triplet")


def rated_pairs(rows, *, labels=("1", "3", "5"), seed=0):
    """Return pairs of questions: of one topic with the last label, of two with the first, half of a topic between."""
    texts, found = topic_examples(2 * rows, seed=seed), []
    for at in range(rows):
        first, kind = texts[at], at % 3
        second = texts[rows + at - rows % 3 + (0 if kind == 2 else 1)]
        text = f"{second.text} {texts[rows + at - rows % 3].text}" if kind == 1 else second.text
        found.append(Example(f"pair-{at:04d}", first.text, labels[min(kind, len(labels) - 1)], text_pair=text))
    return found


def answered_pairs(rows, *, seed=0):
    """Return pairs of questions with the label "yes" where they are of one topic, "no" otherwise."""
    return [
        Example(row.id, row.text, "yes" if row.label == "5" else "no", text_pair=row.text_pair)
        for row in rated_pairs(rows, seed=seed)
        if row.label != "3"
    ]


def belonging_pairs(rows, *, seed=0):
    """Return questions with another of the same topic."""
    return [row for row in answered_pairs(3 * rows, seed=seed) if row.label == "yes"]


def rows_for(loss, rows=120):
    if loss in ("cosent", "angle", "cosine"):
        return rated_pairs(rows)
    if loss in ("contrastive", "online-contrastive"):
        return answered_pairs(rows + rows // 2)
    return belonging_pairs(rows) if loss.startswith("multiple") else topic_examples(rows)


@pytest.fixture
def recipe(tiny_bert):
    return lambda **changes: Contrastive(
        Transformer.from_folder(tiny_bert, device="cpu"), **{"collection": "intents", **FAST, **changes}
    )


@pytest.mark.parametrize("loss", ["multiple-negatives", "multiple-negatives-symmetric", "triplet", *BATCHED, *OF_PAIRS])
def test_a_tiny_model_learns_by_it(recipe, store, tmp_path, loss):
    store.upsert(rows_for(loss), collection="intents")
    report = load_report(train_in(tmp_path, recipe(loss=loss), store=store).folder)
    before, (first, *_, last) = report.details["before"], report.details["history"]
    chosen = "mrr@10" if loss not in OF_PAIRS else "auroc" if "contrastive" in loss else "spearman"
    assert report.metrics.keys() == ({chosen} if loss in OF_PAIRS else {"recall@1", "mrr@10"})
    assert last["train"]["loss"] < first["train"]["loss"], (first, last)
    assert report.metrics[chosen].value > before[chosen], (report.metrics, before)


@pytest.mark.parametrize(("loss", "figure"), [("cosine", "spearman"), ("online-contrastive", "auroc")])
def test_an_evaluation_stands_beside_the_encoder_before(recipe, store, tmp_path, loss, figure):
    store.upsert(rows_for(loss), collection="intents")
    artifact = train_in(tmp_path, recipe(loss=loss), store=store)
    found = evaluate(recipe(loss=loss), artifact=artifact, store=store, scratch_root=tmp_path / "scratch")
    assert found.baseline == "the encoder before"
    assert found.metrics.keys() == found.baseline_metrics.keys() == found.differences.keys() == {figure}
    assert found.differences[figure].value > 0
    assert found.counts["pairs"] == found.counts["test"] > 0
    notes = load_report(artifact.folder).notes
    assert ("Labels from 1 to 5 are learned as cosines from 0 to 1" in notes) is (loss == "cosine")


class TestOfNumbers(RecipeContract):
    loss, hard_negatives = "cosent", 0

    @pytest.fixture(autouse=True)
    def _tiny(self, tiny_bert):
        self.encoder = Transformer.from_folder(tiny_bert, device="cpu")

    def recipe(self):
        more = {"loss": self.loss, "hard_negatives": self.hard_negatives, "collection": "intents"}
        return Contrastive(self.encoder, **{**FAST, "epochs": 1, **more})

    def fill(self, store):
        store.upsert(rows_for(self.loss, 90), collection="intents")


class TestOfAnswers(TestOfNumbers):
    loss = "online-contrastive"


class TestOfPairs(TestOfNumbers):
    loss, hard_negatives = "multiple-negatives-symmetric", 1


class TestOfTriplets(TestOfNumbers):
    loss, hard_negatives = "triplet", 0


@pytest.mark.parametrize("loss", ["triplet", "batch-hard-triplet"])
def test_an_interrupted_run_goes_on_with_what_it_would_have_drawn(recipe, resumes, loss):
    resumed, whole = resumes(lambda **more: recipe(loss=loss, epochs=2, **more), at=10)
    texts = [row.text for row in topic_examples(20, seed=4)]
    ours, theirs = (Transformer.from_folder(each.folder / "encoder").encode(texts) for each in (resumed, whole))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_an_interrupted_run_of_scored_pairs_gives_the_same_figures(recipe, store, resumes):
    store.upsert(rated_pairs(150), collection="rated")
    resumes(lambda **more: recipe(loss="cosent", epochs=2, collection="rated", **more), at=10)


def test_what_another_loss_has_begun_is_not_gone_on_with(recipe):
    shapes = [str(recipe(**more).shape()) for more in ({}, {"loss": "triplet"}, {"loss": "triplet", "margin": 0.3})]
    assert len(set(shapes)) == 3


def test_rows_of_another_kind_are_refused_before_anything_loads(recipe, store, tmp_path):
    store.upsert(topic_examples(60), collection="single")
    store.upsert(belonging_pairs(40), collection="pairs")
    for loss, collection in (("cosent", "single"), ("multiple-negatives", "single"), ("batch-hard-triplet", "pairs")):
        with pytest.raises(DataError, match=f"loss = '{loss}' learns from"):
            train_in(tmp_path, recipe(loss=loss, collection=collection), store=store)
    with pytest.raises(DataError, match="have to be numbers"):
        train_in(tmp_path, recipe(loss="cosent", collection="pairs"), store=store)
    with pytest.raises(DataError, match="two labels"):
        train_in(tmp_path, recipe(loss="contrastive", collection="pairs"), store=store)


def test_a_label_that_is_not_there_is_refused(recipe, store, tmp_path):
    store.upsert(answered_pairs(60), collection="intents")
    with pytest.raises(ConfigError, match="positive_label = 'sure'"):
        train_in(tmp_path, recipe(loss="contrastive", positive_label="sure"), store=store)


def test_only_losses_of_single_pairs_can_be_shared(recipe):
    losses = ("grouped", "multiple-negatives", "triplet", *BATCHED, *OF_PAIRS)
    assert [loss for loss in losses if recipe(loss=loss).shared] == ["cosine", "contrastive"]


def test_the_library_is_not_imported_before_it_is_asked_for():
    code = (
        "import sys; from mercat.training.encoding.contrastive import Contrastive as C; "
        "from mercat.encoders.hashing import Hashing; C(Hashing(), collection='c', loss='cosent'); "
        "assert 'sentence_transformers' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250)
    assert found.returncode == 0, found.stderr
