from __future__ import annotations

import numpy as np
import pytest

from mercat.audit.drift.measures import flat, label_shift, mean_shift, told_apart, value_shift, vector_shift

RANDOM = np.random.default_rng(7)


def test_the_stability_index_is_that_of_the_formula():
    before, now = ["a"] * 60 + ["b"] * 40, ["a"] * 30 + ["b"] * 70
    p, q = np.array([60.5, 40.5]) / 101, np.array([30.5, 70.5]) / 101
    found = label_shift(before, now)
    assert found.value == pytest.approx(float(((p - q) * np.log(p / q)).sum()))
    assert found.p < 0.01
    assert label_shift(before, before).value == 0.0
    assert np.isfinite(label_shift(["a"] * 30, ["b"] * 30).value)


def test_the_gap_of_two_samples_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    before, now = RANDOM.normal(size=300), RANDOM.normal(0.4, size=200)
    for left, right in ((before, now), (before.round(1), now.round(1))):
        assert value_shift(left, right).value == pytest.approx(stats.ks_2samp(left, right).statistic)
    assert value_shift(before, now).p < 0.01


def test_many_labels_of_few_rows_are_no_drift():
    """The index of forty labels and sixty rows is far above 0.25 by chance alone: shuffles tell."""
    labels = [f"l{number}" for number in RANDOM.integers(40, size=120)]
    found = label_shift(labels[:60], labels[60:])
    assert found.value > 0.25
    assert found.p > 0.01


@pytest.mark.parametrize("measure", [value_shift, mean_shift])
def test_shuffles_of_the_same_world_come_as_far_as_often_as_they_should(measure):
    far = [measure(RANDOM.normal(size=40), RANDOM.normal(size=40), seed=at).p for at in range(60)]
    assert 0 <= np.mean(np.array(far) < 0.1) < 0.25


def test_meanings_that_moved_are_told_apart_and_the_same_are_not():
    centre = np.eye(12)[0]
    before, same = (RANDOM.normal(0, 0.3, (150, 12)) for _ in range(2))
    now = RANDOM.normal(0, 0.3, (100, 12)) + 0.5 * centre
    assert vector_shift(before, now).p < 0.01
    assert vector_shift(before, same).p > 0.01
    apart, scores = told_apart(before, now)
    assert apart > 0.8
    assert scores.shape == (100,)
    assert np.corrcoef(scores, now @ centre)[0, 1] > 0.8, "the texts that moved furthest come first"
    assert abs(told_apart(before, same)[0] - 0.5) < 0.12
    plane = flat(before, now)
    assert [each.shape for each in plane] == [(150, 2), (100, 2)]


def test_the_same_seed_gives_the_same_figures():
    before, now = RANDOM.normal(size=(50, 4)), RANDOM.normal(size=(50, 4))
    assert vector_shift(before, now, seed=3) == vector_shift(before, now, seed=3)
    assert told_apart(before, now, seed=3)[0] == told_apart(before, now, seed=3)[0]


def test_vectors_that_are_all_the_same_have_no_drift():
    same = np.ones((30, 3))
    assert vector_shift(same, same).value == pytest.approx(0.0)
    assert told_apart(same, same)[0] == pytest.approx(0.5)
    assert value_shift(np.ones(20), np.ones(20)).value == 0.0
