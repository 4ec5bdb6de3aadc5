"""Calibration, with values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mercat.audit.base import Scored, sample, score_texts
from mercat.audit.calibration import calibrate, ece_by_chance, ece_of_equal_mass, reliability, wilson
from mercat.values import Example

CONFIDENT = np.array([0.9, 0.5, 0.6, 0.8])
RIGHT = np.array([True, False, True, True])


def test_bins_of_equal_mass_hold_neighbours_in_confidence() -> None:
    low, high = reliability(CONFIDENT, RIGHT, bins=2)
    assert (low.confidence, low.accuracy, low.rows) == (pytest.approx(0.55), 0.5, 2)
    assert (high.confidence, high.accuracy, high.rows) == (pytest.approx(0.85), 1.0, 2)


def test_the_error_of_calibration_is_the_mean_gap_of_the_bins() -> None:
    found = ece_of_equal_mass(CONFIDENT, RIGHT, bins=2)
    assert found.value == pytest.approx((2 * 0.05 + 2 * 0.15) / 4)
    assert found.n == 4
    assert ece_of_equal_mass(CONFIDENT, RIGHT, bins=15).value == pytest.approx((0.1 + 0.5 + 0.4 + 0.2) / 4)


def test_a_certain_classifier_has_no_error_by_chance_and_a_doubtful_one_has() -> None:
    assert ece_by_chance(np.ones(50)) == 0.0
    few, many = ece_by_chance(np.full(50, 0.5)), ece_by_chance(np.full(5000, 0.5))
    assert 0.01 < many < few < 0.4
    calibrated = np.random.default_rng(1).random(5000) < 0.5
    assert ece_of_equal_mass(np.full(5000, 0.5), calibrated).value < many


def test_wilson_holds_at_the_ends() -> None:
    assert wilson(8, 10) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson(0, 10) == (0.0, pytest.approx(0.2775, abs=1e-4))
    assert wilson(0, 0) == (0.0, 1.0)


def scored() -> Scored:
    rows = [Example(str(number), f"text {number}", label) for number, label in enumerate("aabb")]
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]], dtype=np.float32)
    return Scored(rows, ("a", "b"), scores, threshold=0.65)


def test_risk_against_coverage_and_what_is_answered() -> None:
    found = calibrate(scored(), bins=2)
    assert found.accuracy.value == 0.75
    assert (found.coverage.value, found.covered_accuracy.value) == (0.75, 1.0)
    assert found.curve == ((0.25, 0.0), (0.5, 0.0), (0.75, 0.0), (1.0, 0.25))
    assert found.aurc == pytest.approx(0.25 / 4)
    assert found.confidence == pytest.approx(0.75)


def test_a_selection_of_rows_keeps_their_scores() -> None:
    kept = scored().at([1, 3])
    assert (kept.true, kept.predicted, kept.answered.tolist()) == (["a", "b"], ["b", "b"], [False, True])


def test_equal_texts_are_asked_about_once_and_in_order() -> None:
    asked: list[str] = []

    def score(texts: object) -> np.ndarray:
        asked.extend(texts)  # type: ignore[call-overload]
        return np.array([[len(text)] for text in texts], dtype=np.float32)  # type: ignore[attr-defined]

    assert score_texts(score, ["aa", "b", "aa", "ccc"]).ravel().tolist() == [2, 1, 2, 3]
    assert asked == ["aa", "b", "ccc"]
    assert score_texts(score, []).shape == (0, 0)


def test_a_sample_keeps_the_order_and_depends_on_the_seed_alone() -> None:
    items = list(range(100))
    drawn = sample(items, 10, seed=3)
    assert drawn == sorted(drawn) == sample(items, 10, seed=3)
    assert drawn != sample(items, 10, seed=4)
    assert sample(items, 200, seed=3) == items
