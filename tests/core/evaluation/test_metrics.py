import random

import numpy as np
import pytest
from sklearn import metrics as reference

from mercat.evaluation import (
    accuracy,
    auroc,
    average_precision,
    classification,
    confusion,
    coverage,
    ece,
    interval,
    macro_f1,
    mrr,
    ndcg,
    of_rows,
    paired,
    per_label,
    ranking,
    recall,
)
from mercat.evaluation.metrics import aurc, ece_interval


def guesses(rows=400, seed=0, right=0.7):
    rng = random.Random(seed)
    true = [rng.choice("aaabbc") for _ in range(rows)]
    return true, [label if rng.random() < right else rng.choice("abcd") for label in true]


def test_figures_equal_those_of_scikit_learn():
    true, predicted = guesses()
    labels = sorted({*true, *predicted})
    assert accuracy(true, predicted).value == pytest.approx(reference.accuracy_score(true, predicted))
    expected = reference.f1_score(true, predicted, labels=labels, average="macro", zero_division=0)
    assert macro_f1(true, predicted).value == pytest.approx(expected)
    table, names = confusion(true, predicted)
    assert names == labels
    np.testing.assert_array_equal(table, reference.confusion_matrix(true, predicted, labels=labels))
    each = reference.precision_recall_fscore_support(true, predicted, labels=labels, zero_division=0)
    for label, *figures in zip(labels, *each):
        found = per_label(true, predicted)[label]
        assert (found.precision, found.recall, found.f1, found.rows) == pytest.approx(tuple(figures))


def test_auroc_equals_scikit_learn_also_with_ties():
    rng = np.random.default_rng(0)
    truth = rng.random(500) < 0.3
    scores = np.round(rng.normal(size=500) + truth, 1)
    found = auroc(truth, scores)
    assert found.value == pytest.approx(reference.roc_auc_score(truth, scores))
    assert found.low < found.value < found.high
    assert np.isnan(auroc([True, True], [0.1, 0.2]).value)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(4)
    covered = 0
    for trial in range(200):
        found = interval(rng.random(150) < 0.8, seed=trial, n=300)
        covered += found.low <= 0.8 <= found.high
    assert 180 <= covered <= 199


def test_an_interval_is_as_wide_as_theory_says():
    values = np.arange(1000) % 2
    found = interval(values, n=4000)
    assert found.value == 0.5
    assert found.n == 1000
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / 1000**0.5, rel=0.08)


def test_macro_f1_is_resampled_not_averaged():
    true, predicted = guesses(300)
    found = macro_f1(true, predicted, n=2000)
    rng, again = np.random.default_rng(1), []
    for _ in range(200):
        drawn = rng.integers(300, size=300)
        kept = [true[i] for i in drawn], [predicted[i] for i in drawn]
        again.append(reference.f1_score(*kept, average="macro", zero_division=0))
    assert found.low == pytest.approx(np.percentile(again, 2.5), abs=0.025)
    assert found.high == pytest.approx(np.percentile(again, 97.5), abs=0.025)


def test_rows_of_one_group_widen_the_interval():
    values = np.repeat(np.random.default_rng(0).random(40) < 0.5, 25).astype(float)
    groups = np.repeat(np.arange(40), 25).tolist()
    alone, together = interval(values), interval(values, groups=groups)
    assert alone.value == together.value
    assert (together.high - together.low) > 3 * (alone.high - alone.low)


def test_the_seed_decides():
    values = np.random.default_rng(0).random(100)
    assert interval(values, seed=1) == interval(values, seed=1) != interval(values, seed=2)


def test_paired_differences_are_narrower_than_unpaired_ones():
    rng = np.random.default_rng(0)
    hard = rng.random(500)
    a, b = (hard < 0.80).astype(float), (hard < 0.77).astype(float)
    found = paired(a, b)
    assert found.value == pytest.approx(np.mean(a - b))
    assert found.low > 0
    assert interval(a).low < interval(b).high  # unpaired they overlap
    with pytest.raises(ValueError, match="same rows"):
        paired([1.0], [1.0, 0.0])


def test_nothing_gives_nan():
    assert np.isnan(accuracy([], []).value)
    assert accuracy([], []).n == 0
    with pytest.raises(ValueError, match="one prediction per row"):
        accuracy(["a"], [])
    with pytest.raises(ValueError, match="one group per row"):
        of_rows(lambda weights: weights.sum(axis=1), 3, groups=["g"])


def test_the_figures_of_a_classifier():
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.45, 0.55]], dtype=np.float32)
    found = classification(["yes", "no", "no", "never seen"], scores, ["yes", "no"], threshold=0.6)
    assert found["accuracy"].value == 0.5
    assert found["coverage"].value == 0.75
    assert found["covered_accuracy"].value == pytest.approx(2 / 3)
    right = np.array([True, False, True, False])
    assert found["ece"].value == pytest.approx(ece(scores.max(axis=1), right))
    assert found["aurc"].value == pytest.approx(aurc(scores.max(axis=1), right))
    assert found["covered_accuracy"].n == 3
    assert classification([], np.zeros((0, 2), np.float32), ["yes", "no"])["accuracy"].n == 0


def test_figures_of_a_classifier_may_be_drawn_by_group():
    scores = np.tile(np.array([[0.9, 0.1], [0.3, 0.7]], dtype=np.float32), (50, 1))
    found = classification(["yes", "yes"] * 50, scores, ["yes", "no"], threshold=0.8, groups=list("ab") * 50)
    assert (found["accuracy"].low, found["accuracy"].high) == (0.0, 1.0)
    assert found["covered_accuracy"].n == 50


def test_ece_interval_has_the_value_of_ece():
    rng = np.random.default_rng(2)
    confident = rng.random(300)
    right = rng.random(300) < confident**2
    found = ece_interval(confident, right)
    assert found.value == pytest.approx(ece(confident, right))
    assert found.low < found.value < found.high
    assert coverage(confident, threshold=0.5).value == np.mean(confident >= 0.5)


def test_rankings_by_hand():
    gains, ideal = [[0, 1, 0, 1], [0, 0, 0, 0], [3, 0, 1]], [[1, 1], [1], [3, 2, 1]]
    assert mrr(gains, ideal, k=10) == [0.5, 0.0, 1.0]
    assert recall(gains, ideal, k=2) == pytest.approx([0.5, 0.0, 1 / 3])
    assert average_precision(gains, ideal, k=4) == pytest.approx([(1 / 2 + 2 / 4) / 2, 0.0, (1 + 2 / 3) / 3])
    assert mrr(gains, ideal, k=1) == [0.0, 0.0, 1.0]
    dcg = 3 + 1 / np.log2(4)
    best = 3 + 2 / np.log2(3) + 1 / np.log2(4)
    assert ndcg(gains, ideal, k=3)[2] == pytest.approx(dcg / best)


def test_ndcg_equals_scikit_learn():
    rng = np.random.default_rng(0)
    for _ in range(20):
        relevance = rng.integers(0, 4, size=12)
        relevance[0] = 2
        order = rng.permutation(12)
        scores = np.empty(12)
        scores[order] = -np.arange(12)
        expected = reference.ndcg_score([relevance], [scores], k=5)
        assert ndcg([relevance[order].tolist()], [relevance.tolist()], k=5) == pytest.approx([expected])


def test_queries_with_nothing_to_find_are_left_out():
    found = ranking([[1, 0], [0, 0]], [[1], []], k=10, groups=["g", "h"])
    assert set(found) == {"ndcg@10", "recall@10", "mrr@10", "map@10"}
    assert all((metric.value, metric.n) == (1.0, 1) for metric in found.values())
    with pytest.raises(ValueError, match="one ideal per ranking"):
        ndcg([[1]], [], k=3)
