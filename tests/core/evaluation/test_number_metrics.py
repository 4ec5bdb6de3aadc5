from __future__ import annotations

import math

import numpy as np
import pytest

from mercat.evaluation.numbers import regression, regression_differences, spearman


def rows(size=200, *, noise=0.5, seed=0):
    random = np.random.default_rng(seed)
    true = random.integers(1, 6, size=size).astype(float)  # ratings: many ties
    return true, true + random.normal(scale=noise, size=size).round(1)


def test_figures_are_those_of_scikit_learn_and_scipy():
    metrics = pytest.importorskip("sklearn.metrics")
    stats = pytest.importorskip("scipy.stats")
    true, found = rows()
    ours = regression(true, found)
    assert ours["mse"].value == pytest.approx(metrics.mean_squared_error(true, found))
    assert ours["mae"].value == pytest.approx(metrics.mean_absolute_error(true, found))
    assert ours["r2"].value == pytest.approx(metrics.r2_score(true, found))
    assert ours["spearman"].value == pytest.approx(stats.spearmanr(true, found).statistic)
    assert spearman(true, found) == pytest.approx(ours["spearman"].value)


def test_weights_count_a_row_as_often_as_it_was_drawn():
    stats = pytest.importorskip("scipy.stats")
    from mercat.evaluation.numbers import _spearman

    true, found = rows(30)
    drawn = np.random.default_rng(1).integers(30, size=30)
    weights = np.bincount(drawn, minlength=30)[None].astype(float)
    expected = stats.spearmanr(true[drawn], found[drawn]).statistic
    assert _spearman(true, found)(weights)[0] == pytest.approx(expected)


def test_intervals_hold_the_value_and_grow_with_less_rows():
    many, few = regression(*rows(400)), regression(*rows(30))
    for name, metric in many.items():
        assert metric.low < metric.value < metric.high, name
        assert few[name].high - few[name].low > metric.high - metric.low


def test_differences_are_paired():
    true, good = rows(noise=0.2)
    _, bad = rows(noise=2.0)
    found = regression_differences(true, good, bad)
    assert found["mse"].high < 0 < found["spearman"].low
    left, right = regression(true, good), regression(true, bad)
    for name, metric in found.items():
        assert metric.value == pytest.approx(left[name].value - right[name].value)


def test_numbers_without_an_order_have_no_correlation():
    found = regression([2.0, 2.0, 2.0], [1.0, 2.0, 3.0])
    assert math.isnan(found["spearman"].value)
    assert math.isnan(found["r2"].value)
    assert spearman([2.0, 2.0], [1.0, 2.0]) == 0
    with pytest.raises(ValueError, match="one number per row"):
        regression([1.0], [1.0, 2.0])
