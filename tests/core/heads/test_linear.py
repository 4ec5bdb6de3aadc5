import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mercat.errors import ArtifactError, DataError, FingerprintError
from mercat.heads import ALWAYS, LinearHead, ece, load_head, nll, require_fingerprint
from mercat.testing.heads import HeadContract

FINGERPRINT = "toy-encoder/16"


def blobs(rows=600, labels=5, dimensions=16, *, noise=0.6, seed=0):
    """Unit vectors around one centre per label, so that classes overlap."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(labels, dimensions))
    targets = rng.integers(labels, size=rows)
    found = centres[targets] * 0.35 + rng.normal(size=(rows, dimensions)) * noise
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found.astype(np.float32), [f"label-{t}" for t in targets]


def fitted(**kwargs):
    return LinearHead.fit(*blobs(), fingerprint=FINGERPRINT, validation=blobs(seed=1), max_error=0.2, **kwargs)


class TestTemperature(HeadContract):
    def head(self):
        return fitted()

    def load(self, folder):
        return load_head(folder)


class TestIsotonic(HeadContract):
    def head(self):
        return fitted(calibration="isotonic")

    def load(self, folder):
        return load_head(folder)


class TestTwoLabels(HeadContract):
    def head(self):
        return LinearHead.fit(*blobs(labels=2), fingerprint=FINGERPRINT, calibration="none")

    def load(self, folder):
        return load_head(folder)


@pytest.mark.parametrize("labels", [2, 5])
def test_numpy_scores_equal_scikit_learn(labels):
    vectors, names = blobs(labels=labels)
    model = LogisticRegression(C=10.0, max_iter=200, tol=3e-5).fit(vectors, names)
    head = LinearHead.fit(
        vectors,
        names,
        fingerprint=FINGERPRINT,
        strength=10.0,
        calibration="none",
        validation=blobs(labels=labels, seed=1),
    )
    np.testing.assert_allclose(head.scores(vectors), model.predict_proba(vectors), atol=1e-4)
    assert list(head.labels) == list(model.classes_)


def test_calibration_lowers_the_loss_of_an_overconfident_head():
    vectors, names = blobs(rows=80, dimensions=64, noise=1.0)
    validation = blobs(rows=1500, dimensions=64, noise=1.0, seed=1)
    test = blobs(rows=3000, dimensions=64, noise=1.0, seed=2)
    raw = LinearHead.fit(vectors, names, fingerprint="f", strength=1000.0, calibration="none", validation=validation)
    targets = np.array([raw.labels.index(name) for name in test[1]])

    def figures(head):
        scores = head.scores(test[0])
        right = scores.argmax(axis=1) == targets
        return ece(scores.max(axis=1), right), nll(np.log(scores + 1e-9), targets)

    before = figures(raw)
    for method in ("temperature", "isotonic"):
        after = figures(raw.calibrated(validation, method=method))
        assert after[0] < 0.06 < before[0]
        assert after[1] < before[1]


def test_the_strength_is_chosen_on_validation_rows():
    vectors, names = blobs(rows=200, dimensions=32)
    validation = blobs(rows=2000, dimensions=32, seed=1)

    def right(head):
        scores = head.scores(validation[0])
        return (np.array(head.labels)[scores.argmax(axis=1)] == np.array(validation[1])).mean()

    each = [
        right(LinearHead.fit(vectors, names, fingerprint="f", strength=c, validation=validation)) for c in (1, 10, 100)
    ]
    auto = LinearHead.fit(vectors, names, fingerprint="f", validation=validation)
    assert right(auto) == pytest.approx(max(each), abs=0.006)
    assert max(each) > min(each)


def test_the_threshold_keeps_the_error_on_validation_rows_within_the_bound():
    head, (vectors, names) = fitted(), blobs(seed=1)
    scores = head.scores(vectors)
    kept = scores.max(axis=1) >= head.threshold
    right = np.array(head.labels)[scores.argmax(axis=1)] == np.array(names)
    assert 0.3 < kept.mean() < 1.0
    assert 0.1 < 1 - right[kept].mean() <= 0.2


def test_a_bound_that_cannot_be_met_abstains_on_everything_and_says_so():
    vectors, names = blobs(rows=100)
    wrong = (blobs(seed=1)[0], ["never seen"] * 600)
    head = LinearHead.fit(vectors, names, fingerprint="f", validation=wrong, max_error=0.01)
    assert head.threshold == ALWAYS
    assert any("No threshold keeps the error within 0.01" in note for note in head.notes)
    assert "Validation labels without training rows: never seen" in head.notes


def test_without_validation_rows_the_same_seed_gives_the_same_head():
    vectors, names = blobs()
    one, two, other = (LinearHead.fit(vectors, names, fingerprint="f", max_error=0.3, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(one.weights, two.weights)
    assert (one.temperature, one.threshold) == (two.temperature, two.threshold)
    assert one.temperature != other.temperature


def test_a_label_seen_once_is_dropped_and_named():
    vectors, names = blobs()
    names[0] = "lonely"
    head = LinearHead.fit(vectors, names, fingerprint="f")
    assert "lonely" not in head.labels
    assert head.notes == ("Labels seen once were dropped: lonely",)


def test_thin_isotonic_tables_are_noted():
    (note,) = LinearHead.fit(*blobs(), fingerprint="f", validation=blobs(rows=60, seed=1), calibration="isotonic").notes
    assert note.startswith("Isotonic tables from fewer than 50 validation rows per label")
    assert fitted(calibration="isotonic").notes == ()


def test_balanced_weights_find_more_of_a_rare_label():
    vectors, names = blobs(rows=2000, labels=2)
    keep = [i for i, name in enumerate(names) if name == "label-0" or i % 25 == 0]
    vectors, names = vectors[keep], [names[i] for i in keep]
    test, truth = blobs(rows=1000, labels=2, seed=2)

    def recall(weight):
        head = LinearHead.fit(vectors, names, fingerprint="f", class_weight=weight, calibration="none")
        found = head.scores(test).argmax(axis=1) == head.labels.index("label-1")
        return found[np.array(truth) == "label-1"].mean()

    assert recall("balanced") > recall(None) + 0.1


def test_what_cannot_be_fitted_is_a_data_error():
    vectors, names = blobs(rows=20)
    with pytest.raises(DataError, match="at least two labels"):
        LinearHead.fit(vectors, ["same"] * 20, fingerprint="f")
    with pytest.raises(DataError, match=r"shape \(20, 16\) and 19 labels"):
        LinearHead.fit(vectors, names[:19], fingerprint="f")
    with pytest.raises(DataError, match="finite"):
        LinearHead.fit(np.full_like(vectors, np.nan), names, fingerprint="f")


def test_a_foreign_fingerprint_is_named_in_three_parts():
    head = LinearHead(("a", "b"), np.zeros((2, 3), np.float32), np.zeros(2, np.float32), "minilm/384")
    with pytest.raises(FingerprintError) as caught:
        require_fingerprint("usem3/256", head)
    assert str(caught.value) == (
        "The head was fitted on vectors of 'minilm/384'. The encoder at hand is 'usem3/256'. "
        "Try: name the head's encoder in mercat.toml, or train the head again with: mercat train"
    )


@pytest.mark.parametrize(
    ("change", "found"),
    [({"schema": 9}, "schema 9"), ({"type": "forest"}, "type 'forest'"), ({"labels": ["one"]}, "names 1 labels")],
)
def test_a_folder_that_does_not_fit_is_an_artifact_error(tmp_path: Path, change, found):
    fitted().save(tmp_path)
    meta = json.loads((tmp_path / "head.json").read_text())
    (tmp_path / "head.json").write_text(json.dumps(meta | change))
    with pytest.raises(ArtifactError, match=found):
        load_head(tmp_path)


def test_a_missing_or_damaged_head_is_an_artifact_error(tmp_path: Path):
    with pytest.raises(ArtifactError, match=r"no head\.json"):
        load_head(tmp_path)
    (tmp_path / "head.json").write_text("{")
    with pytest.raises(ArtifactError, match="damaged"):
        load_head(tmp_path)


def test_what_speaks_for_no_label_is_less_familiar():
    weights = np.array([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]], dtype=np.float32)
    head = LinearHead(("a", "b"), weights, np.zeros(2, dtype=np.float32), "f")
    rows = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
    found = head.familiarity(rows)
    np.testing.assert_allclose(found, [np.log(np.exp(4) + 1), np.log(np.exp(4) + 1), np.log(2)], rtol=1e-6)
    huge = LinearHead(("a", "b"), weights * 1e4, np.zeros(2, dtype=np.float32), "f").familiarity(rows)
    assert np.isfinite(huge).all()
