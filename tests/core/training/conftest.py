"""A store to learn from, and what holds an interrupted run against a whole one."""

from __future__ import annotations

import pytest

from mercat.store import Store
from mercat.testing.training import topic_examples, train_in
from mercat.training.report import load_report


@pytest.fixture
def store(tmp_path):
    """An empty store; recipes do not care which database it is."""
    with Store.open(f"sqlite:///{tmp_path}/mercat.db") as opened:
        yield opened


@pytest.fixture(scope="session")
def body_of_minilm():
    """Return a function that makes a random BERT of the size of all-MiniLM-L6-v2: 22.7 million weights."""
    pytest.importorskip("torch")
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    return lambda: BertModel(BertConfig(**sizes))


@pytest.fixture
def resumes(store, tmp_path):
    """Return a function that holds an interrupted run of the recipe `make(**more)` against a whole one, and returns both."""

    class Interrupted(Exception):
        pass

    def check(make, *, at):
        def stop(stage, done, total, **figures):
            if stage == "train" and done == at:
                raise Interrupted

        store.upsert(topic_examples(150), collection="intents")
        with pytest.raises(Interrupted):
            train_in(tmp_path, make(checkpoint_every_s=0.0), store=store, progress=stop)
        resumed = train_in(tmp_path, make(), store=store)
        whole = train_in(tmp_path / "whole", make(), store=store)
        ours, theirs = load_report(resumed.folder), load_report(whole.folder)
        assert ours.details["resumed_at"] == at - 1
        assert theirs.details["resumed_at"] == 0
        assert ours.details["history"] == theirs.details["history"]
        for name, metric in theirs.metrics.items():
            assert ours.metrics[name].value == pytest.approx(metric.value, abs=1e-6), name
        return resumed, whole

    return check
