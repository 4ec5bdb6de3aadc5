"""Trials over parameters: what is tried, what is best, and that a kill costs nothing that was finished."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="optuna is not installed")

from mercat.encoders.hashing import Hashing
from mercat.errors import ConfigError, DataError, MissingExtra
from mercat.testing.training import topic_examples
from mercat.training.classifying.linear import Linear
from mercat.training.progress import silent
from mercat.training.search import Range, next_parameters, parse_space, search

SPACE = parse_space({"strength": "0.001..1000:log", "class_weight": "none,balanced"})


@pytest.fixture
def store(store):
    store.upsert(topic_examples(120), collection="intents")
    return store


def look(store, folder, *, trials=6, build=None, space=None, **options):
    made = build or (lambda parameters: Linear(Hashing(), collection="intents", **parameters))
    return search(
        made, space or SPACE, name="intents", store=store, folder=folder, trials=trials, progress=silent, **options
    )


def test_texts_become_ranges_and_choices():
    assert parse_space(
        {"a": "1e-5..1e-3:log", "b": "2..5", "c": "0, 0.1", "d": "none,balanced", "e": "true,false"}
    ) == {
        "a": Range(1e-5, 1e-3, log=True),
        "b": Range(2, 5),
        "c": (0, 0.1),
        "d": (None, "balanced"),
        "e": (True, False),
    }
    assert Range(2, 5).whole
    assert not Range(2.0, 5).whole


@pytest.mark.parametrize("text", ["5..2", "a..b", "0..1:log", "1..2:cube", "", "1,1"])
def test_a_space_that_cannot_be_is_refused(text):
    with pytest.raises(ConfigError, match="The space of x"):
        parse_space({"x": text})


def test_values_stay_within_the_space_and_come_as_they_were_written(store, tmp_path):
    seen = []
    space = parse_space({"rate": "1e-4..1e-2:log", "epochs": "1..3", "kind": "none,a,0.5"})

    def build(parameters):
        seen.append(parameters)
        return Linear(Hashing(), collection="intents")

    look(store, tmp_path, trials=12, build=build, space=space)
    for parameters in seen:
        assert 1e-4 <= parameters["rate"] <= 1e-2
        assert type(parameters["epochs"]) is int and 1 <= parameters["epochs"] <= 3
        assert parameters["kind"] in (None, "a", 0.5)
    assert len({parameters["kind"] for parameters in seen}) == 3


def test_the_best_trial_is_the_one_that_validation_prefers(store, tmp_path):
    found = look(store, tmp_path)
    values = [trial.value for trial in found.trials]
    assert found.best.value == max(values)
    assert min(values) < max(values), "a thousandth of C learns next to nothing"
    loss = look(store, tmp_path, metric="ece")
    assert loss.best.value == min(trial.value for trial in loss.trials), "of an error less is better"


def test_later_trials_learn_from_earlier_ones():
    """On a plain hill TPE comes closer than its random start."""
    space, done = {"x": Range(0.0, 1.0)}, []
    from mercat.training.search import Trial

    for number in range(40):
        x = next_parameters(space, done, metric="accuracy", seed=0)["x"]
        done.append(Trial(number, {"x": x}, -abs(x - 0.73), 0.0))
    early, late = ([abs(trial.parameters["x"] - 0.73) for trial in part] for part in (done[:10], done[-10:]))
    assert sum(late) < 0.5 * sum(early)


def test_the_same_search_again_costs_nothing_and_says_the_same(store, tmp_path):
    first = look(store, tmp_path)
    made = []

    def build(parameters):
        made.append(parameters)
        return Linear(Hashing(), collection="intents", **parameters)

    assert look(store, tmp_path, build=build) == first
    assert len(made) == 1, "only to learn the collection"
    longer = look(store, tmp_path, trials=8)
    assert longer.trials[:6] == first.trials


def test_a_killed_search_tries_the_same_and_goes_on(store, tmp_path):
    whole = look(store, tmp_path / "whole")
    tried = []

    class Killed(Linear):
        def train(self, run, writer):
            tried.append(self.head.strength)
            if len(tried) == 4:
                run.scratch.joinpath("checkpoint").write_text("half-way")
                raise KeyboardInterrupt
            return super().train(run, writer)

    with pytest.raises(KeyboardInterrupt):
        look(store, tmp_path / "cut", build=lambda given: Killed(Hashing(), collection="intents", **given))
    (kept,) = (tmp_path / "cut").glob("trial-*/scratch/intents/checkpoint")
    (journal,) = (tmp_path / "cut").glob("*.jsonl")
    assert len(journal.read_text().splitlines()) == 3
    with journal.open("a") as file:
        file.write('{"number": 3, "para')  # a kill in the middle of a line
    again = look(store, tmp_path / "cut", build=lambda given: Killed(Hashing(), collection="intents", **given))
    assert tried[3] == tried[4], "the trial that was cut comes first"
    assert not kept.exists()
    assert [(each.parameters, each.value) for each in again.trials] == [
        (each.parameters, each.value) for each in whole.trials
    ]


def test_trials_on_other_rows_do_not_count(store, tmp_path):
    look(store, tmp_path)
    store.upsert(topic_examples(30, seed=9), collection="intents")
    look(store, tmp_path, trials=2)
    assert sorted(len(path.read_text().splitlines()) for path in tmp_path.glob("*.jsonl")) == [2, 6]


def test_a_trial_that_fails_is_told_and_the_search_goes_on(store, tmp_path):
    class Fragile(Linear):
        def train(self, run, writer):
            if self.head.class_weight == "balanced":
                raise DataError("It was asked", "it failed", "something else")
            return super().train(run, writer)

    found = look(store, tmp_path, build=lambda given: Fragile(Hashing(), collection="intents", **given))
    failed = [trial for trial in found.trials if trial.error]
    assert failed and all("it failed" in trial.error and trial.value is None for trial in failed)
    assert found.best.parameters["class_weight"] is None


def test_a_metric_that_is_not_measured_names_those_that_are(store, tmp_path):
    with pytest.raises(ConfigError, match="macro_f1"):
        look(store, tmp_path, trials=1, metric="bleu")


def test_the_test_part_is_never_scored(store, tmp_path, monkeypatch):
    monkeypatch.setattr(Linear, "evaluate", lambda *_: pytest.fail("the test part was read"))
    look(store, tmp_path, trials=2)
    assert not list(Path(tmp_path).glob("trial-*")), "what the trials made is removed"
    (journal,) = tmp_path.glob("*.jsonl")
    assert set(json.loads(journal.read_text().splitlines()[0])) == {"number", "parameters", "value", "seconds", "error"}


def test_trials_of_another_routine_do_not_count(store, tmp_path):
    first = look(store, tmp_path, trials=2, about="linear")
    again = look(store, tmp_path, trials=2, about="linear")
    assert again == first
    assert len(look(store, tmp_path, trials=1, about="another").trials) == 1


def test_what_would_fail_every_trial_ends_the_search(store, tmp_path):
    class Lacking(Linear):
        def train(self, run, writer):
            raise MissingExtra("The recipe", "The package 'peft' is not installed", "pip install")

    with pytest.raises(MissingExtra, match="peft"):
        look(store, tmp_path, build=lambda given: Lacking(Hashing(), collection="intents", **given))
    assert not [line for path in tmp_path.glob("*.jsonl") for line in path.read_text().splitlines()]
