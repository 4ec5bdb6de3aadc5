from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mercat.compute.memory import Peak
from mercat.encoders.hashing import Hashing
from mercat.testing.training import topic_examples, train_in
from mercat.training.base import Report
from mercat.training.classifying.linear import Linear
from mercat.training.estimating import Estimable, Estimate, encoding_seconds, extrapolated, held_against, spread
from mercat.training.report import load_report, report_text
from mercat.training.train import estimate


class Clock:
    """Seconds that pass only when something says so."""

    now = 0.0

    def __call__(self):
        return self.now


class Slow(Hashing):
    """Takes a hundredth of a second per letter, by the clock."""

    def __init__(self, clock):
        super().__init__()
        self.clock, self.encoded = clock, 0

    def encode(self, texts, *, role="document"):
        self.clock.now += 0.01 * sum(map(len, texts))
        self.encoded += len(texts)
        return super().encode(texts, role=role)


def test_encoding_is_estimated_from_texts_of_all_lengths():
    clock = Clock()
    texts = ["a" * (1 + at % 100) for at in range(5000)]
    encoder = Slow(clock)
    found = encoding_seconds(encoder, texts, role="query", clock=clock, budget_s=60.0)
    assert encoder.encoded < 500, "a little of it is tried"
    assert found == pytest.approx(0.01 * sum(map(len, texts)), rel=0.05)
    assert encoding_seconds(encoder, [], role="query", clock=clock) == 0.0


def test_between_tried_sizes_it_goes_straight_and_beyond_in_proportion():
    tried = {100.0: 1.0, 300.0: 2.0}
    assert extrapolated([200], tried) == pytest.approx(1.5)
    assert extrapolated([50], tried) == pytest.approx(0.5)
    assert extrapolated([600], tried) == pytest.approx(4.0)
    assert extrapolated([100, 300, 200], tried) == pytest.approx(4.5)
    assert spread(10, 3).tolist() == [1, 5, 8]
    assert spread(2, 5).tolist() == [0, 1]


def test_an_estimate_is_one_line():
    found = Estimate({"read": 5.0, "learn": 200.0}, 1500.0, 22_700_000, 29_568, updates=939, tried_s=3.04)
    assert str(found) == (
        "About 3 min 25 s and 1.5 GB of memory: 29.6 k of 22.7 M parameters learn, 939 updates (tried for 3.0 s)"
    )
    assert str(replace(found, notes=["Memory is not known"])).endswith("(tried for 3.0 s). Memory is not known")
    assert str(Estimate({"a": 7200.0}, None, 10, 0)).startswith("About 2 h 0 min: none of 10 parameters learns")


def test_a_report_holds_it_against_what_was_measured():
    report = Report(metrics={}, counts={}, seconds=8.0, details={"resumed_at": 0})
    found = held_against(Estimate({"learn": 6.0}, 100.0, 10, 10), report, Peak())
    assert found.details["measured"]["seconds_estimated_per_measured"] == 0.75
    assert found.details["estimate"]["seconds"] == 6.0
    assert "Estimated 6.0 s, took 8.0 s; memory estimated 100 MB" in found.notes[-1]
    rest = held_against(Estimate({"learn": 6.0}, 100.0, 10, 10), Report({}, {}, 2.0, details={"resumed_at": 7}), Peak())
    assert rest.details["measured"]["seconds_estimated_per_measured"] is None
    assert "after the interruption" in rest.notes[-1]


def test_linear_is_estimated_before_and_measured_after(store, tmp_path):
    store.upsert(topic_examples(600), collection="intents")
    clock, told = Clock(), []
    encoder = Slow(clock)
    recipe = Linear(encoder, collection="intents", monotonic=clock)
    assert isinstance(recipe, Estimable)
    asked = estimate(recipe, name="intents", store=store, scratch_root=tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()
    assert asked.trainable_parameters == 3 * 257
    artifact = train_in(tmp_path, recipe, store=store, expect=told.append)
    report = load_report(artifact.folder)
    assert told[0].seconds == pytest.approx(asked.seconds)
    assert report.details["measured"]["seconds_estimated_per_measured"] == pytest.approx(1.0, abs=0.15)
    assert report.details["measured"]["memory_mb"] > 0
    assert "Estimated" in report_text(report)


def test_who_does_not_ask_pays_for_no_trial(store, tmp_path):
    store.upsert(topic_examples(90), collection="intents")
    encoder = Slow(Clock())
    artifact = train_in(tmp_path, Linear(encoder, collection="intents"), store=store)
    assert encoder.encoded == 81
    assert "estimate" not in load_report(artifact.folder).details


def test_a_loop_is_estimated_without_a_trace(store, tmp_path, tiny_bert):
    """All that fine-tunes: the estimate is near, and the run is the one that it would have been."""
    pytest.importorskip("torch")
    from mercat.encoders.transformer import Transformer
    from mercat.training.classifying.full import Full

    store.upsert(topic_examples(150), collection="intents")
    options = {"epochs": 3, "learning_rate": 3e-3, "head_learning_rate": 3e-2, "batch_size": 16}

    def recipe():
        return Full(Transformer(str(tiny_bert)), collection="intents", **options)

    told = []
    with_one = load_report(train_in(tmp_path / "one", recipe(), store=store, expect=told.append).folder)
    without = load_report(train_in(tmp_path / "two", recipe(), store=store).folder)
    assert with_one.details["history"] == without.details["history"]
    assert told[0].updates == with_one.counts["updates"] == 24
    assert told[0].parameters == with_one.counts["parameters"]
    assert told[0].trainable_parameters == with_one.counts["trainable_parameters"]
    assert told[0].memory_mb > 50
    assert {"read", "learn", "validate", "encode", "fit"} == told[0].stages.keys()
    assert np.isfinite(with_one.details["measured"]["seconds_estimated_per_measured"])


def test_a_rehearsal_tries_batches_of_all_sizes_within_its_budget():
    torch = pytest.importorskip("torch")
    from mercat.training.loop.objective import Step
    from mercat.training.loop.rehearsal import rehearse
    from mercat.training.loop.settings import LoopSettings

    clock = Clock()

    class Tokens:
        """Each padded token takes a hundredth of a second to learn, and a third of that to score."""

        lengths = tuple(2 + at % 50 for at in range(2000))
        seen = ()

        def step(self, model, rows):
            width = max(self.lengths[row] for row in rows)
            self.seen = (*self.seen, len(rows) * width)
            clock.now += 0.01 * len(rows) * width if torch.is_grad_enabled() else 0.0033 * len(rows) * width
            return Step(model(torch.ones(1, 2)).sum())

        def validate(self, model):
            raise AssertionError("validation may take long")

    model, objective = torch.nn.Linear(2, 1), Tokens()
    state = torch.get_rng_state()
    found = rehearse(
        model, LoopSettings(epochs=2, batch_size=20), objective=objective, seed=0, clock=clock, budget_s=90
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert found.updates == 200
    assert clock.now < 130
    assert objective.seen[0] == objective.seen[1] == max(objective.seen), "the peak of memory, and it warms up"
    assert found.forward_s_per_token == pytest.approx(0.0033)
    from mercat.training.loop.batches import epoch_batches

    tokens = sum(
        len(rows) * max(objective.lengths[row] for row in rows)
        for rows in epoch_batches(objective.lengths, 20, seed=0, epoch=0)
    )
    assert found.seconds == pytest.approx(2 * 0.01 * tokens, rel=0.01)
