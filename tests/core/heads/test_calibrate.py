import numpy as np
import pytest

from mercat.heads import (
    IsotonicTables,
    aurc,
    choose_threshold,
    ece,
    fit_isotonic,
    fit_temperature,
    risk_coverage,
    softmax,
)
from mercat.heads.abstain import ALWAYS


def drawn(rows=20_000, labels=4, *, temperature=1.0, seed=0):
    """Logits and targets drawn from their softmax; the logits are then sharpened by `temperature`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, labels)) * 1.5
    draws = rng.random(rows)[:, None]
    targets = (softmax(logits).cumsum(axis=1) < draws).sum(axis=1)
    return logits * temperature, np.minimum(targets, labels - 1)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_that_spoiled_the_logits_is_found(true):
    logits, targets = drawn(temperature=true)
    assert fit_temperature(logits, targets) == pytest.approx(true, rel=0.05)


def test_a_few_rows_that_are_all_right_make_no_certainty():
    logits = np.eye(3)[[0, 1, 2, 0, 1]] * 2.0
    temperature = fit_temperature(logits, np.array([0, 1, 2, 0, 1]))
    assert 0.8 < softmax(logits / temperature).max() < 0.95


def test_ece_of_known_cases():
    assert ece([0.9] * 10, [True] * 9 + [False]) == pytest.approx(0.0)
    assert ece([1.0] * 4, [True, True, False, False]) == pytest.approx(0.5)
    # two bins of two rows: |0.5 - 0.6| and |1 - 0.8|, each half of the rows
    assert ece([0.6, 0.6, 0.8, 0.8], [True, False, True, True]) == pytest.approx(0.15)
    assert np.isnan(ece([], []))


def test_bins_are_closed_on_the_right():
    # 1/15 belongs to the first bin: its two rows cancel out, |0.5 - mean(0.05, 1/15)| alone remains
    value = ece([0.05, 1 / 15], [True, False])
    assert value == pytest.approx(abs(0.5 - (0.05 + 1 / 15) / 2))


def test_isotonic_tables_calibrate_and_normalise():
    logits, targets = drawn(temperature=3.0)
    spoiled = softmax(logits)
    tables = fit_isotonic(spoiled, targets)
    held, truth = drawn(temperature=3.0, seed=1)
    mended = tables.apply(softmax(held))
    np.testing.assert_allclose(mended.sum(axis=1), 1.0)
    before = ece(softmax(held).max(axis=1), softmax(held).argmax(axis=1) == truth)
    after = ece(mended.max(axis=1), mended.argmax(axis=1) == truth)
    assert after < 0.02 < 0.1 < before


def test_a_row_that_maps_to_nothing_keeps_its_scores():
    step = np.array([0.0, 0.4, 0.6, 1.0], np.float32)
    tables = IsotonicTables(np.tile(step, 2), np.tile(np.array([0, 0, 1, 1], np.float32), 2), np.array([0, 4, 8]))
    np.testing.assert_array_equal(tables.apply(np.array([[0.9, 0.1]])), [[1.0, 0.0]])
    row = np.array([[0.2, 0.2]])
    np.testing.assert_array_equal(tables.apply(row), row)


def test_risk_and_coverage_by_hand():
    coverage, risk = risk_coverage([0.9, 0.8, 0.8, 0.4], [True, True, False, False])
    np.testing.assert_allclose(coverage, [0.25, 0.75, 1.0])
    np.testing.assert_allclose(risk, [0.0, 1 / 3, 0.5])


def test_aurc_is_lower_for_a_better_order_and_the_error_for_no_order():
    right = np.array([True] * 70 + [False] * 30)
    good, bad = np.linspace(1, 0, 100), np.linspace(0, 1, 100)
    assert aurc(good, right) < 0.06
    assert aurc(bad, right) > 0.6
    assert aurc(np.full(100, 0.5), right) == pytest.approx(0.3)


def test_the_smallest_threshold_within_the_bound():
    confidences = [0.9, 0.8, 0.7, 0.6, 0.5]
    choice = choose_threshold(confidences, [True, False, True, True, False], max_error=0.25)
    # the error is 1/2 after two rows, and down to 1/4 after four: most coverage wins
    assert choice.coverage == 0.8
    assert choice.error == 0.25
    assert 0.5 < choice.threshold <= 0.6
    assert choice.reached


def test_no_bound_needed_means_no_abstention():
    assert choose_threshold([0.3, 0.2], [True, True], max_error=0.1).threshold == 0.0


def test_an_unreachable_bound_abstains_always():
    choice = choose_threshold([0.9, 0.8], [False, False], max_error=0.1)
    assert (choice.threshold, choice.coverage, choice.reached) == (ALWAYS, 0.0, False)
