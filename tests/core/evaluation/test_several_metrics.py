from __future__ import annotations

import numpy as np
import pytest

from mercat.evaluation.several import f1_of, several, several_differences, table_of


def tables(rows=120, seed=0):
    random = np.random.default_rng(seed)
    truth = random.random((rows, 4)) < 0.4
    scores = np.clip(truth * 0.4 + random.random((rows, 4)) * 0.6, 0, 1).round(1)
    return truth, scores >= 0.5, scores


def test_figures_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    truth, given, scores = tables()
    found = several(truth, given, scores, ["a", "b", "c", "d"])
    assert found["micro_f1"].value == pytest.approx(metrics.f1_score(truth, given, average="micro"))
    assert found["macro_f1"].value == pytest.approx(metrics.f1_score(truth, given, average="macro"))
    assert found["lrap"].value == pytest.approx(metrics.label_ranking_average_precision_score(truth, scores))
    assert found["exact"].value == pytest.approx(metrics.accuracy_score(truth, given))
    assert found["f1.b"].value == pytest.approx(metrics.f1_score(truth[:, 1], given[:, 1]))
    assert found["f1.b"].n == truth[:, 1].sum()
    for metric in found.values():
        assert metric.low < metric.value < metric.high
    assert f1_of(truth, given) == {name: pytest.approx(found[name].value) for name in ("micro_f1", "macro_f1")}


def test_a_label_that_is_neither_there_nor_given_counts_for_nothing():
    truth = np.array([[True, False], [True, False]])
    found = several(truth, truth, truth.astype(float), ["a", "b"])
    assert (found["macro_f1"].value, found["lrap"].value) == (1.0, 1.0)
    assert "f1.b" not in found


def test_differences_are_paired():
    truth, given, _ = tables()
    found = several_differences(truth, given, np.zeros_like(given))
    assert found["micro_f1"].value == pytest.approx(f1_of(truth, given)["micro_f1"])
    assert found["micro_f1"].low > 0


def test_a_table_of_labels_leaves_out_what_has_no_name():
    np.testing.assert_array_equal(table_of([["b", "x"], []], ["a", "b"]), [[False, True], [False, False]])
