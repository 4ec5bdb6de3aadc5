"""Fusion by rank, and near-duplicates."""

import numpy as np
import pytest

from mercat.errors import ConfigError, DataError
from mercat.retrieval.base import Refreshed
from mercat.retrieval.fused import Fused
from mercat.retrieval.fusion import Table, collapse, fuse, fuse_scores, reciprocal_rank_fusion
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


def leg(**scores: float) -> list[Hit]:
    return [Hit(key, score, text=f"text of {key}") for key, score in scores.items()]


def test_scores_are_added_and_a_hit_that_a_leg_lacks_gets_its_least():
    legs = [leg(a=0.9, b=0.5), leg(b=0.6, c=0.4)]
    fused = fuse_scores(legs, weights=[1.0, 0.5], asked=2)
    assert {hit.id: hit.score for hit in fused} == pytest.approx({"a": 1.1, "b": 0.8, "c": 0.7})
    assert [hit.id for hit in fused] == ["a", "b", "c"]
    short = fuse_scores(legs, weights=[1.0, 0.5], asked=3)
    assert {hit.id: hit.score for hit in short} == pytest.approx({"a": 0.9, "b": 0.8, "c": 0.2}), "none was cut off"


def test_a_leg_that_has_found_little_counts_little():
    """By ranks both legs count the same; by scores the words that hardly cover the question do not."""
    dense, words = leg(right=0.8, near=0.6, wrong=0.2), leg(wrong=0.1, near=0.09)
    assert fuse([dense, words])[0].id != "right"
    assert fuse_scores([dense, words], weights=[1.0, 0.6], asked=3)[0].id == "right"


def test_equal_sums_go_by_the_better_rank_then_by_id():
    assert list(Table.of([leg(z=1.0, a=1.0), leg(m=1.0)], asked=5).ids) == ["m", "z", "a"]
    assert [key for key, _ in Table.of([leg(z=1.0, a=1.0), []], asked=5).order([1.0, 1.0])] == ["z", "a"]
    assert Table.of([[], []], asked=5).order([1.0, 1.0]) == []


class Lengths:
    """Takes the longer text for the better one."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def rerank(self, query, texts):
        self.asked += texts
        return np.array([len(text) for text in texts], dtype=np.float32)


def test_the_first_hits_are_put_in_the_order_of_the_reranker():
    reranker = Lengths()
    both = Fused([Fixed("x", "yyy", "zz", "wwwwww", done=Refreshed(0, 0, 0))], reranker=reranker, rerank=3)
    found = both.search("?", k=4)
    assert [hit.id for hit in found] == ["yyy", "zz", "x", "wwwwww"], "the fourth is not looked at"
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    assert found[0].score == len("text of yyy")
    assert reranker.asked == ["text of x", "text of yyy", "text of zz"]
    assert Fused([Fixed(done=Refreshed(0, 0, 0))], reranker=reranker).search("?") == []


@pytest.mark.parametrize("scores", [[1.0], [[1.0, 2.0]], [1.0, float("nan")]], ids=str)
def test_a_reranker_that_answers_nonsense_is_named(scores):
    class Broken:
        def rerank(self, query, texts):
            return np.array(scores)

    with pytest.raises(DataError, match="Broken was given 2 texts"):
        Fused([Fixed("x", "y", done=Refreshed(0, 0, 0))], reranker=Broken()).search("?")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"fusion": "sums"}, "Known: scores, ranks"),
        ({"artifact": "w", "fusion": "scores", "weights": [1.0]}, "weights of their own"),
        ({"artifact": "w"}, "Ranks are fused"),
        ({"artifact": "w", "fusion": "scores"}, "No artifacts were handed in"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(options, found):
    with pytest.raises(ConfigError, match=found):
        Fused([Fixed("x", done=Refreshed(0, 0, 0))], **options)
