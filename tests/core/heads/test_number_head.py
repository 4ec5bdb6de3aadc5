from __future__ import annotations

import math

import numpy as np
import pytest

from mercat.errors import ArtifactError, DataError
from mercat.heads import LinearHead
from mercat.heads.numbers import NumberHead


def head(**more):
    return NumberHead(np.array([1, -1], dtype=np.float32), 0.5, "space", mean=10, scale=2, **more)


def test_values_come_in_their_own_units():
    np.testing.assert_allclose(head().values(np.array([[1, 0], [0, 1]], dtype=np.float32)), [13, 9])
    assert head().values(np.zeros((0, 2), dtype=np.float32)).shape == (0,)
    with pytest.raises(DataError, match="2 dimensions"):
        head().values(np.zeros((1, 3), dtype=np.float32))


def test_the_margin_covers_what_it_promises():
    random = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        errors = random.normal(size=60)
        made = head().calibrated(np.zeros(50), errors[:50], coverage=0.8)
        covered.append((np.abs(errors[50:]) <= made.margin).mean())
    assert 0.79 < np.mean(covered) < 0.84
    assert made.coverage == 0.8


def test_few_rows_promise_nothing():
    assert head().calibrated(np.zeros(8), np.arange(8), coverage=0.9).margin == math.inf
    assert head().calibrated(np.zeros(9), np.arange(9), coverage=0.9).margin == 8


@pytest.mark.parametrize("margin", [1.5, math.inf])
def test_it_comes_back_from_its_folder(tmp_path, margin):
    head(margin=margin, coverage=0.8).save(tmp_path)
    again = NumberHead.load(tmp_path)
    assert (again.bias, again.fingerprint, again.mean, again.scale, again.margin, again.coverage) == (
        0.5,
        "space",
        10,
        2,
        margin,
        0.8,
    )
    np.testing.assert_array_equal(again.weights, head().weights)


def test_another_kind_of_head_is_refused(tmp_path):
    LinearHead(("a", "b"), np.ones((2, 4), dtype=np.float32), np.ones(2, dtype=np.float32), "space").save(tmp_path)
    with pytest.raises(ArtifactError, match="type 'number'"):
        NumberHead.load(tmp_path)
