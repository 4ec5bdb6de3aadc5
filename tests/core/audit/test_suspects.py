"""Doubted labels by confident learning, worked out by hand; what audited rows share."""

from __future__ import annotations

import numpy as np
import pytest

from mercat.audit.base import Scored
from mercat.audit.overlap import overlap
from mercat.audit.suspects import confident_labels, noise, suspects
from mercat.values import Example

SCORES = np.array([[0.9, 0.1], [0.7, 0.3], [0.1, 0.9], [0.2, 0.8], [0.85, 0.15], [0.45, 0.55]], dtype=np.float32)
GIVEN = np.array([0, 0, 1, 1, 1, 1])
"""Thresholds: label 0 (0.9 + 0.7) / 2 = 0.8; label 1 (0.9 + 0.8 + 0.15 + 0.55) / 4 = 0.6."""


def test_a_row_counts_for_the_label_whose_threshold_it_reaches() -> None:
    assert confident_labels(SCORES, GIVEN).tolist() == [0, -1, 1, 1, 0, -1]


def test_the_noise_is_the_share_of_confident_others_weighted_by_rows() -> None:
    found = noise(GIVEN, confident_labels(SCORES, GIVEN), 2)
    assert found == pytest.approx((0 * 2 + (1 / 3) * 4) / 6)


def test_a_label_without_rows_is_never_likely() -> None:
    scores = np.array([[0.1, 0.2, 0.7], [0.2, 0.1, 0.7]], dtype=np.float32)
    assert confident_labels(scores, np.array([0, 1])).tolist() == [1, 0]


def test_suspects_come_with_text_and_the_doubtful_first() -> None:
    rows = [Example(str(at), f"text {at}", "ab"[label]) for at, label in enumerate(GIVEN)]
    rows.append(Example("6", "text 6", "unheard of"))
    scored = Scored(rows, ("a", "b"), np.vstack([SCORES, [[0.5, 0.5]]]).astype(np.float32))
    found = suspects(scored)
    assert (found.rows, found.count, found.unknown) == (6, 1, 1)
    assert found.pairs == (("b", "a", 1),)
    (doubted,) = found.suspects
    assert (doubted.text, doubted.given, doubted.likely) == ("text 4", "b", "a")
    assert doubted.margin == pytest.approx(0.7)


def test_planted_errors_are_found() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(3, size=600)
    scores = np.full((600, 3), 0.1)
    scores[np.arange(600), true] = 0.8
    scores += rng.uniform(0, 0.02, size=scores.shape)
    given = true.copy()
    given[:60] = (true[:60] + 1) % 3
    rows = [Example(str(at), "x", "abc"[label]) for at, label in enumerate(given)]
    found = suspects(Scored(rows, ("a", "b", "c"), scores.astype(np.float32)))
    assert {each.id for each in found.suspects} <= {str(at) for at in range(60)}
    assert found.count == 60
    assert found.noise == pytest.approx(0.1)


def test_what_audited_rows_share_with_training_and_with_each_other() -> None:
    train = [Example("t1", "Where is my card", "card"), Example("t2", "I want a refund for this order now", "refund")]
    rows = [
        Example("1", "where is my CARD", "card"),
        Example("2", "I want a refund for this order now!!", "refund"),
        Example("3", "my parcel is late again this week", "delivery"),
        Example("4", "My parcel is late again this week", "refund"),
        Example("5", "my parcel is late again this weeks", "delivery"),
    ]
    found = overlap({"train": train}, rows)
    assert {leak.kind: leak.count for leak in found.leaks} == {"normalised": 1, "near": 1}
    assert (found.learned, found.rows, found.leaking, found.repeated, found.alike) == (2, 5, 2, 2, 1)
    assert found.contradicting == 1
    assert (found.contradictions[0].label_one, found.contradictions[0].label_other) == ("delivery", "refund")
    assert overlap({}, rows[:3]).learned == 0
