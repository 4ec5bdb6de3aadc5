"""A head that remembers: votes of the nearest vectors beside a linear head."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mercat.errors import ArtifactError, ConfigError, DataError
from mercat.heads import LinearHead, MemoryHead, load_head, nll
from mercat.testing.heads import HeadContract


def islands(rows=240, *, seed=0, dimensions=16):
    """Unit vectors of two labels, each on three islands: no plane parts them, their neighbours do."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(6, dimensions))
    places = rng.integers(0, 6, size=rows)
    vectors = centres[places] + 0.35 * rng.normal(size=(rows, dimensions))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), [("no", "yes")[place % 2] for place in places]


def plain(labels=("no", "yes"), dimensions=16):
    """A head that has learned nothing: every label is as likely as any other."""
    zeros = np.zeros((len(labels), dimensions), dtype=np.float32)
    return LinearHead(tuple(labels), zeros, np.zeros(len(labels), dtype=np.float32), "islands")


def remembering(**options):
    return MemoryHead.beside(plain(), islands(), validation=islands(80, seed=1), **options)


def right(head, rows):
    vectors, labels = rows
    return np.mean([head.labels[number] == label for number, label in zip(head.scores(vectors).argmax(1), labels)])


class TestMemoryKeepsTheContract(HeadContract):
    def head(self):
        linear = LinearHead.fit(*islands(), fingerprint="islands", calibration="isotonic")
        return MemoryHead.beside(linear, islands(), validation=islands(80, seed=1), share=0.4, max_error=0.01)

    def load(self, folder):
        return load_head(folder)


def test_the_votes_weigh_by_nearness():
    vectors = np.array([[1, 0], [0.96, 0.28], [0, 1]], dtype=np.float32)
    linear = plain(("a", "b"), dimensions=2)
    head = MemoryHead(linear, vectors, np.array([0, 1, 1]), share=1.0, neighbours=2)
    near, far = np.exp(1.0 / 0.05), np.exp(0.96 / 0.05)
    np.testing.assert_allclose(head.votes(vectors[:1]), [[near / (near + far), far / (near + far)]], rtol=1e-5)
    assert head.votes(vectors[2:])[0].tolist() == [0.0, 1.0]


def test_a_share_of_nothing_leaves_the_linear_head_as_it_is():
    linear = LinearHead.fit(*islands(), fingerprint="islands")
    head = MemoryHead.beside(linear, islands(), validation=islands(80, seed=1), share=0.0, calibrate=False)
    vectors, _ = islands(20, seed=2)
    np.testing.assert_allclose(head.scores(vectors), linear.scores(vectors), atol=1e-5)


def test_the_share_is_chosen_on_validation_rows():
    """A head that knows nothing leaves it to the memory; one whose memory is mislabelled does not listen to it."""
    found = remembering()
    assert found.share > 0
    assert right(found, islands(200, seed=2)) > 0.9 > right(plain(), islands(200, seed=2))
    rng = np.random.default_rng(3)
    vectors, labels = islands()
    linear = LinearHead.fit(vectors, labels, fingerprint="islands")
    wrong = (vectors, list(rng.permutation(labels)))
    assert MemoryHead.beside(linear, wrong, validation=islands(80, seed=1)).share < 0.3


def test_its_temperature_makes_it_as_sure_as_it_may_be():
    """One label in five is wrong, so a single neighbour must not be believed outright."""

    def noisy(rows, seed):
        vectors, labels = islands(rows, seed=seed)
        flipped = np.random.default_rng(seed).random(rows) < 0.2
        other = {"no": "yes", "yes": "no"}
        return vectors, [other[label] if flip else label for label, flip in zip(labels, flipped, strict=True)]

    vectors, labels = noisy(400, 4)
    heads = [
        MemoryHead.beside(plain(), noisy(240, 0), validation=noisy(80, 1), share=1.0, neighbours=1, calibrate=calibrate)
        for calibrate in (False, True)
    ]
    targets = np.array([heads[0].labels.index(label) for label in labels])
    sure, calm = (nll(np.log(head.scores(vectors) + 1e-9), targets) for head in heads)
    assert calm < 0.8 < sure
    assert heads[1].scores(vectors).max() < 0.9


def test_prototypes_are_the_means_of_each_label():
    head = remembering(share=1.0, remember="prototypes")
    vectors, labels = islands()
    assert head.vectors.shape == (2, 16)
    assert head.neighbours == 2
    mean = vectors[np.array(labels) == "yes"].mean(axis=0)
    np.testing.assert_allclose(head.vectors[1], mean / np.linalg.norm(mean), rtol=1e-4)


def test_labels_that_the_head_does_not_know_are_not_remembered():
    vectors, labels = islands()
    odd = ["maybe" if number % 5 == 0 else label for number, label in enumerate(labels)]
    head = MemoryHead.beside(plain(), (vectors, odd), validation=islands(80, seed=1))
    assert len(head.vectors) == sum(label != "maybe" for label in odd)
    with pytest.raises(DataError, match="rows to remember"):
        MemoryHead.beside(plain(), (vectors, ["maybe"] * len(vectors)), validation=islands(80, seed=1))


def test_validation_rows_without_a_known_label_choose_nothing_and_count_as_errors():
    strange = (islands(20, seed=1)[0], ["maybe"] * 20)
    head = MemoryHead.beside(plain(), islands(), validation=strange, max_error=0.1)
    assert (head.temperature, head.threshold > 1) == (1.0, True)
    assert any("abstains on everything" in note for note in head.notes)


@pytest.mark.parametrize("options", [{"share": -0.1}, {"share": 1.5}, {"share": float("nan")}, {"neighbours": 0}])
def test_what_is_out_of_range_is_refused(options):
    with pytest.raises(ConfigError):
        remembering(**options)


def test_a_memory_that_does_not_fit_its_labels_is_refused(tmp_path):
    head = remembering()
    replace(head, numbers=head.numbers + 1).save(tmp_path)
    with pytest.raises(ArtifactError, match="remembers"):
        load_head(tmp_path)
