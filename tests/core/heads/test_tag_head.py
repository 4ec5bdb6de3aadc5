from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from mercat.errors import ArtifactError, DataError
from mercat.heads import LinearHead
from mercat.heads.tags import TagHead, entities, transitions, viterbi

TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


def head(**more):
    random = np.random.default_rng(1)
    weights = random.normal(size=(5, 8)).astype(np.float32)
    return TagHead(TAGS, weights, random.normal(size=5).astype(np.float32), "space", **more)


# the cases of seqeval's own tests, and of conlleval
@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("O O O B-MISC I-MISC I-MISC O", [(3, 6, "MISC")]),
        ("B-PER I-PER O", [(0, 2, "PER")]),
        ("B-PER B-PER I-PER", [(0, 1, "PER"), (1, 3, "PER")]),
        ("I-MISC B-MISC I-MISC I-MISC O", [(0, 1, "MISC"), (1, 4, "MISC")]),
        ("B-PER I-LOC", [(0, 1, "PER"), (1, 2, "LOC")]),
        ("O O", []),
        ("", []),
    ],
)
def test_entities_of_tags(tags, found):
    assert entities(tags.split()) == found


def test_strictly_only_a_b_begins_an_entity():
    assert entities("I-LOC I-LOC B-PER I-LOC I-PER".split(), strict=True) == [(2, 3, "PER")]  # noqa: SIM905


def test_the_best_path_is_that_of_all_paths():
    first, after = transitions(TAGS)
    random = np.random.default_rng(0)
    for _ in range(20):
        scores = random.normal(size=(5, 5))
        best = max(
            product(range(5), repeat=5),
            key=lambda path: (
                scores[range(5), path].sum() + first[path[0]] + sum(after[a, b] for a, b in pairwise(path))
            ),
        )
        assert tuple(viterbi(scores, first, after)) == best


def test_constrained_tags_are_valid_and_others_need_not_be():
    vectors = np.random.default_rng(3).normal(size=(200, 8)).astype(np.float32)
    free, bound = head(constrained=False), head()
    names = [TAGS[n] for n in bound.decode(bound.scores(vectors))]
    assert entities(names) == entities(names, strict=True)
    names = [TAGS[n] for n in free.decode(free.scores(vectors))]
    assert entities(names) != entities(names, strict=True)


def test_it_comes_back_from_its_folder(tmp_path):
    saved = head(temperature=1.5, shapes=np.ones((6, 8), dtype=np.float32))
    saved.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head.json", "head.safetensors"]
    again, vectors = TagHead.load(tmp_path), np.ones((3, 8), dtype=np.float32)
    np.testing.assert_array_equal(again.scores(vectors), saved.scores(vectors))
    np.testing.assert_array_equal(again.shapes, saved.shapes)
    assert (again.tags, again.fingerprint, again.temperature, again.constrained) == (TAGS, "space", 1.5, True)


def test_calibration_makes_confidence_match_what_is_right():
    random = np.random.default_rng(0)
    targets = random.integers(5, size=2000)
    logits = (random.normal(size=(2000, 5)) + 2 * np.eye(5)[targets]).astype(np.float32)
    sure = head().calibrated(logits * 5, targets)
    assert sure.temperature == pytest.approx(2.5, abs=0.2)
    scores = sure.probabilities(logits * 5)
    assert abs(scores.max(axis=1).mean() - (scores.argmax(axis=1) == targets).mean()) < 0.03
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-5)


def test_other_vectors_and_other_heads_are_refused(tmp_path):
    with pytest.raises(DataError, match="8 dimensions"):
        head().scores(np.ones((2, 9), dtype=np.float32))
    with pytest.raises(ArtifactError, match=r"no head\.json"):
        TagHead.load(tmp_path)
    LinearHead(("a", "b"), np.ones((2, 4), dtype=np.float32), np.ones(2, dtype=np.float32), "space").save(tmp_path)
    with pytest.raises(ArtifactError, match=r"type 'tags'.*type 'linear'"):
        TagHead.load(tmp_path)
    (tmp_path / "head.json").write_text("{")
    with pytest.raises(ArtifactError, match="damaged"):
        TagHead.load(tmp_path)
