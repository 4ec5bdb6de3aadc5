from __future__ import annotations

import numpy as np
import pytest

from mercat.encoders.hashing import Hashing
from mercat.training.pairing.cosine import Line, Threshold, cosines
from mercat.values import Example


def test_cosines_of_equal_texts_are_one():
    rows = [Example("a", "lost card", "1", text_pair="lost card"), Example("b", "lost card", "0", text_pair="退款多久")]
    same, other = cosines(Hashing(), rows)
    assert same == pytest.approx(1, abs=1e-5)
    assert other < 0.5


@pytest.mark.parametrize(
    ("values", "labels", "right"),
    [
        ([0.1, 0.2, 0.8, 0.9], "nnyy", 4),
        ([0.1, 0.2, 0.8, 0.9], "yynn", 4),
        ([0.5, 0.5, 0.5, 0.9], "nnyy", 3),
        ([0.1, 0.9], "yy", 2),
        ([0.1, 0.3, 0.5, 0.7, 0.9], "nnyny", 4),
    ],
)
def test_the_threshold_is_where_most_rows_are_right(values, labels, right):
    numbers = np.array(values, dtype=np.float32)
    found = Threshold.fit(numbers, list(labels))
    assert sum(a == b for a, b in zip(found.labels(numbers), labels, strict=True)) == right


def test_the_line_is_that_of_least_squares():
    values = np.array([0.0, 0.5, 1.0], dtype=np.float32)
    found = Line.fit(values, np.array([1, 2, 3], dtype=np.float32))
    np.testing.assert_allclose(found.numbers(values), [1, 2, 3], atol=1e-5)
