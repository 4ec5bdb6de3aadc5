"""Fusion by rank, and near-duplicates."""

import pytest

from mercat.errors import ConfigError
from mercat.retrieval.base import Refreshed
from mercat.retrieval.fusion import collapse, fuse, reciprocal_rank_fusion
from mercat.retrieval.hybrid import Fused
from mercat.values import Hit


def hits(*ids: str, score: float = 1.0) -> list[Hit]:
    return [Hit(key, score, text=f"text of {key}") for key in ids]


def test_the_formula():
    fused = dict(reciprocal_rank_fusion([["a", "b"], ["b", "c"]], k=60))
    assert fused == pytest.approx({"b": 1 / 62 + 1 / 61, "a": 1 / 61, "c": 1 / 62})
    assert [key for key, _ in reciprocal_rank_fusion([["a", "b"], ["b", "c"]])] == ["b", "a", "c"]


def test_equal_scores_have_one_order():
    assert [key for key, _ in reciprocal_rank_fusion([["z", "m"], ["a", "q"]])] == ["a", "z", "m", "q"]


def test_weights_and_empty_rankings():
    assert reciprocal_rank_fusion([["a"], ["b"]], weights=[1.0, 2.0])[0][0] == "b"
    assert reciprocal_rank_fusion([]) == []
    assert [key for key, _ in reciprocal_rank_fusion([["a"], []])] == ["a"]
    with pytest.raises(ValueError):
        reciprocal_rank_fusion([["a"]], weights=[1.0, 2.0])


def test_an_id_counts_once_per_ranking():
    assert reciprocal_rank_fusion([["a", "a", "b"]]) == [("a", 1 / 61), ("b", 1 / 62)]


def test_fused_hits_keep_the_row_and_get_the_fused_score():
    (best, *_) = fuse([hits("a", "b", score=0.9), hits("b", score=17.0)])
    assert (best.id, best.text, best.score) == ("b", "text of b", pytest.approx(1 / 62 + 1 / 61))


def test_of_near_duplicates_the_best_is_kept():
    text = "the quick brown fox jumps over the lazy dog near the river bank at night"
    rows = [Hit("a", 3.0, text), Hit("b", 2.0, text + "!"), Hit("c", 1.0, "something else altogether, on clouds")]
    assert [hit.id for hit in collapse(rows)] == ["a", "c"]
    assert [hit.id for hit in collapse(rows, threshold=1.01)] == ["a", "b", "c"]


class Fixed:
    """Answers always the same."""

    collection = "help"

    def __init__(self, *ids: str, done: Refreshed) -> None:
        self.ids, self.done, self.asked = ids, done, []

    def search_many(self, texts, *, k=10, filters=None):
        self.asked.append((k, filters))
        return [hits(*self.ids)[:k] for _ in texts]

    def refresh(self, *, progress=None):
        return self.done

    rebuild = refresh


def test_each_leg_is_asked_deeply_with_the_filters():
    a, b = Fixed("x", "y", done=Refreshed(3, 0, 9)), Fixed("y", "z", done=Refreshed(2, 1, 7))
    both = Fused([a, b], depth=50)
    assert [hit.id for hit in both.search("?", k=2, filters={"locale": "en"})] == ["y", "x"]
    assert a.asked == b.asked == [(50, {"locale": "en"})]
    both.search("?", k=80)
    assert a.asked[-1][0] == 80
    assert both.refresh() == Refreshed(3, 1, 7)


def test_one_weight_for_each_retriever():
    with pytest.raises(ConfigError, match="1 retrievers came with 2 weights"):
        Fused([Fixed(done=Refreshed(0, 0, 0))], weights=[1, 2])
    with pytest.raises(ConfigError):
        Fused([])
