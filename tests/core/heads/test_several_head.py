from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mercat.errors import ArtifactError, DataError
from mercat.heads import LinearHead
from mercat.heads.several import SeveralHead, best_threshold


def head(**more):
    random = np.random.default_rng(1)
    given = {"thresholds": np.full(3, 0.5, dtype=np.float32), "fingerprint": "space", **more}
    return SeveralHead(
        ("a", "b", "c"), random.normal(size=(3, 8)).astype(np.float32), np.zeros(3, dtype=np.float32), **given
    )


def vectors(rows=5, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, 8)).astype(np.float32)


def test_each_label_has_a_probability_of_its_own():
    made = head()
    scores = made.scores(vectors())
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-made.logits(vectors()))), atol=1e-6)
    assert made.scores(vectors(0)).shape == (0, 3)
    np.testing.assert_array_equal(made.given(scores), scores >= 0.5)
    with pytest.raises(DataError, match="8 dimensions"):
        made.scores(np.zeros((1, 9), dtype=np.float32))


@pytest.mark.parametrize("seed", range(8))
def test_the_threshold_has_the_best_f1_of_all(seed):
    random = np.random.default_rng(seed)
    truth = random.random(12) < 0.4
    scores = (random.integers(6, size=12) / 5).astype(np.float32)  # with ties

    def f1(threshold):
        given = scores >= threshold
        return 2 * (given & truth).sum() / max(given.sum() + truth.sum(), 1)

    assert f1(best_threshold(scores, truth)) == max(f1(at) for at in np.arange(0, 1.2, 0.05))


def test_a_label_that_no_row_has_is_given_from_one_half_on():
    assert best_threshold(np.array([0.1, 0.9], dtype=np.float32), np.array([False, False])) == 0.5


def test_calibration_makes_probabilities_match_what_is_there():
    random = np.random.default_rng(0)
    made, some = head(), vectors(3000)
    truth = random.random((3000, 3)) < 1 / (1 + np.exp(-made.logits(some) / 4))
    found = made.calibrated(some, truth)
    assert found.temperature == pytest.approx(4, rel=0.15)
    np.testing.assert_allclose(found.scores(some).mean(axis=0), truth.mean(axis=0), atol=0.03)


def test_rare_labels_share_a_threshold():
    some, truth = vectors(60), np.zeros((60, 3), dtype=bool)
    truth[:20, 0] = truth[3, 1] = truth[5, 2] = True
    found = head().calibrated(some, truth)
    scores = found.scores(some)
    assert (
        found.thresholds[1]
        == found.thresholds[2]
        == pytest.approx(best_threshold(scores.reshape(-1), truth.reshape(-1)))
    )
    assert found.thresholds[0] == pytest.approx(best_threshold(scores[:, 0], truth[:, 0]))


def test_it_comes_back_from_its_folder(tmp_path):
    saved = head(temperature=2.0, thresholds=np.array([0.2, 0.3, 0.4], dtype=np.float32))
    saved.save(tmp_path)
    again = SeveralHead.load(tmp_path)
    assert (again.labels, again.fingerprint, again.temperature) == (saved.labels, "space", 2.0)
    np.testing.assert_array_equal(again.scores(vectors()), saved.scores(vectors()))
    np.testing.assert_array_equal(again.thresholds, saved.thresholds)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head.json", "head.safetensors"]


def test_another_kind_of_head_is_refused(tmp_path):
    LinearHead(("a", "b"), np.ones((2, 4), dtype=np.float32), np.ones(2, dtype=np.float32), "space").save(tmp_path)
    with pytest.raises(ArtifactError, match="type 'several'"):
        SeveralHead.load(tmp_path)


def test_one_logistic_regression_per_label_and_none_for_labels_that_all_have():
    pytest.importorskip("sklearn")
    from mercat.heads.fitting import fit_each

    corners = np.array(list(product((0, 1), repeat=2)) * 5, dtype=np.float32)
    truth = np.stack([corners[:, 0] > 0, corners[:, 1] > 0, np.ones(20, bool), np.zeros(20, bool)], axis=1)
    weights, bias = fit_each(corners, truth, strength=100.0)
    np.testing.assert_array_equal((corners @ weights.T + bias) > 0, truth)
    assert not weights[2:].any()
