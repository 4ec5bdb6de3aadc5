from __future__ import annotations

import pytest

pytest.importorskip("torch")

from mercat.artifacts import Artifacts
from mercat.encoders.transformer import Transformer
from mercat.heads import load_head
from mercat.testing.training import topic_examples, train_in
from mercat.training.classifying.full import Full
from mercat.training.report import load_report
from mercat.training.updating.update import Update
from mercat.values import Example

QUICK = {"epochs": 3, "learning_rate": 3e-3, "head_learning_rate": 3e-2, "batch_size": 16}


@pytest.fixture
def first(store, tmp_path, tiny_bert):
    store.upsert(topic_examples(150), collection="intents")
    return train_in(tmp_path, Full(Transformer(str(tiny_bert)), collection="intents", **QUICK), store=store)


@pytest.fixture
def update(tmp_path, tiny_bert):
    def make(**options):
        artifacts = Artifacts(tmp_path / "artifacts")
        return Update(Transformer(str(tiny_bert)), artifacts, collection="intents", batch_size=16, **options)

    return make


def test_it_goes_on_from_its_own_weights(store, tmp_path, first, update):
    """At a rate of nearly nothing the new version is the old one: nothing was started anew."""
    store.upsert(topic_examples(30, seed=7), collection="intents")
    made = train_in(tmp_path, update(learning_rate=1e-9, head_learning_rate=1e-9, epochs=1), store=store)
    found = load_report(made.folder).details["update"]["compared"]["regression set"]
    assert found["differences"]["accuracy"]["value"] == 0.0
    old, new = load_head(first.folder / "head"), load_head(made.folder / "head")
    assert abs(old.weights - new.weights).max() < 1e-6
    assert made.encoder_fingerprint != ""


def test_replay_takes_old_rows_of_every_label(store, tmp_path, first, update):
    store.upsert([Example(f"new-{at}", f"luggage suitcase {at}", "luggage") for at in range(30)], collection="intents")
    made = train_in(tmp_path, update(replay=0.0, epochs=3, head_learning_rate=3e-2), store=store, promote=False)
    report = load_report(made.folder)
    assert report.counts["replayed"] == 15  # five of each old label, however few are asked for
    assert report.counts["train"] == 15 + 24
    assert load_head(made.folder / "head").labels == ("card", "luggage", "refund", "transfer")
    more = load_report(train_in(tmp_path, update(replay=2.0), store=store).folder)
    assert 46 <= more.counts["replayed"] <= 50


def test_a_killed_update_goes_on_to_the_same_figures(store, tmp_path, first, update):
    class Interrupted(Exception):
        pass

    def stop(stage, done, total, **figures):
        if stage == "train" and done == 3:
            raise Interrupted

    store.upsert(topic_examples(60, seed=7), collection="intents")
    with pytest.raises(Interrupted):
        train_in(tmp_path, update(checkpoint_every_s=0.0), store=store, progress=stop, promote=False)
    resumed = load_report(train_in(tmp_path, update(), store=store, promote=False).folder)
    whole = load_report(train_in(tmp_path, update(), store=store, promote=False).folder)
    assert resumed.details["resumed_at"] == 2
    assert whole.details["resumed_at"] == 0
    assert resumed.details["history"] == whole.details["history"]
    assert resumed.details["update"] == whole.details["update"]
