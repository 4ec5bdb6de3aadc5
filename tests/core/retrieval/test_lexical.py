"""BM25: the right numbers, two languages, kept up with the store and on the disk."""

import json

import numpy as np
import pytest

from mercat.errors import ArtifactError
from mercat.retrieval import keyword_table
from mercat.retrieval.bm25 import Weighed
from mercat.retrieval.lexical import Bm25
from mercat.values import Document


def weighed(texts, *, k1=1.5, b=0.75):
    texts = {str(row): np.array(text, dtype=np.int32) for row, text in enumerate(texts)}
    return Weighed(k1=k1, b=b).changed(texts, (), among=texts)


@pytest.mark.parametrize(("k1", "b"), [(1.5, 0.75), (0.9, 0.4), (1.2, 0.0)])
def test_the_weights_are_those_of_the_formula(k1, b):
    draw = np.random.default_rng(3)
    texts = [draw.integers(0, 40, size=draw.integers(1, 30)).tolist() for _ in range(60)]
    average = sum(map(len, texts)) / len(texts)
    ours = weighed(texts, k1=k1, b=b)
    for query in ([3], [1, 2, 3], [5, 5, 9], list(range(40))):
        expected, ceiling = np.zeros(len(texts)), 0.0
        for token in query:
            holding = sum(token in text for text in texts)
            rarity = np.log1p((len(texts) - holding + 0.5) / (holding + 0.5))
            ceiling += rarity
            for row, text in enumerate(texts):
                count = text.count(token)
                expected[row] += rarity * count / (count + k1 * (1 - b + b * len(text) / average))
        found = ours.best(query, 100)
        assert dict(found) == pytest.approx(
            {str(row): score / ceiling for row, score in enumerate(expected) if score}, rel=1e-5
        )
        assert found == sorted(found, key=lambda one: (-one[1], one[0]))
        assert ours.best(query, 7) == found[:7]


def test_by_hand():
    """Two texts of 2 and 4 words; word 0 is in one of them, twice: rarity ln(1 + 1.5/1.5), length factor 1 + b/3."""
    ours = weighed([[1, 2], [0, 0, 1, 3]], k1=1.0)
    assert ours.best([0], 5) == [("1", pytest.approx(2 / (2 + 1.25)))]
    unknown = np.log(1 + 2.5 / 0.5)  # a word in no text weighs most, and nothing covers it
    assert ours.best([0, 9], 5) == [("1", pytest.approx(np.log(2) * 2 / (2 + 1.25) / (np.log(2) + unknown)))]


def test_no_texts_and_unknown_words():
    assert weighed([]).best([1], 3) == []
    assert weighed([[0]]).best([7, -1], 3) == []


def test_any_order_of_changes_ends_where_a_fresh_start_would():
    """Rows come, change and go in batches of every size; after each the answers are those of a table made at once."""
    draw = np.random.default_rng(5)
    ours, texts = Weighed(k1=1.5, b=0.75), {}
    for _ in range(120):
        put = {
            str(key): draw.integers(0, 30, size=draw.integers(1, 12)).astype(np.int32)
            for key in draw.integers(0, 200, size=draw.choice([0, 1, 1, 2, 40]))
        }
        gone = {str(key) for key in draw.integers(0, 200, size=draw.integers(0, 8))} - put.keys()
        texts = {key: text for key, text in {**texts, **put}.items() if key not in gone}
        before = ours.best([1, 2, 3], 10)
        after = ours.changed(put, gone, among=texts)
        assert ours.best([1, 2, 3], 10) == before, "who searches meanwhile sees what was there"
        ours = after
        fresh = Weighed(k1=1.5, b=0.75).changed(texts, (), among=texts)
        allowed = set(list(texts)[::3])
        for query in ([4], [1, 2, 2, 29]):
            assert ours.best(query, 10) == fresh.best(query, 10)
            assert ours.best(query, 10, allowed=allowed) == fresh.best(query, 10, allowed=allowed)
    assert len(ours.segments) <= 6
    assert sum(len(segment.ids) for segment in ours.segments) <= 2 * len(texts)


def test_a_change_touches_small_segments_only():
    texts = {str(row): np.array([row % 7, 1], dtype=np.int32) for row in range(1000)}
    ours = Weighed(k1=1.5, b=0.75).changed(texts, (), among=texts)
    for row in range(100):
        new = {f"n{row}": np.array([3], dtype=np.int32)}
        texts |= new
        ours = ours.changed(new, (), among=texts)
        assert ours.segments[0].living == 1000, "the large one is as it was"
    assert len(ours.segments) <= 6
    assert ours.texts == 1100


@pytest.fixture
def made(store, tmp_path):
    store.upsert(
        [
            Document("fees", "Fees for cards are listed here", metadata={"topic": "money"}),
            Document("lost", "What to do when a card was lost or stolen", metadata={"topic": "cards"}),
            Document("挂失", "银行卡丢失后如何挂失", metadata={"topic": "cards"}),
            Document("blank", "...", metadata={"topic": "cards"}),
        ],
        collection="help",
    )

    def make(**options):
        given = {"collection": "help", "workspace_folder": tmp_path / "w", "section_name": "help", **options}
        return Bm25(store, **given)

    return make


def test_words_decide_and_rows_without_one_are_no_hits(made):
    retriever = made()
    retriever.refresh()
    assert [hit.id for hit in retriever.search("a stolen card")] == ["lost", "fees"]
    assert [hit.id for hit in retriever.search("挂失")] == ["挂失"]
    assert retriever.search("submarine") == []
    assert retriever.search("card", filters={"topic": "money"})[0].id == "fees"


def test_a_start_reads_the_table_and_cuts_no_text(made, monkeypatch):
    made().refresh()
    cut = []
    real = keyword_table.keywords
    monkeypatch.setattr(keyword_table, "keywords", lambda text, **how: cut.append(text) or real(text, **how))
    again = made()
    assert again.search("stolen")[0].id == "lost"
    assert cut == ["stolen"]


def test_a_change_cuts_only_the_changed_text(made, store, monkeypatch):
    cut = []
    real = keyword_table.keywords
    monkeypatch.setattr(keyword_table, "keywords", lambda text, **how: cut.append(text) or real(text, **how))
    retriever = made()
    retriever.refresh()
    cut.clear()
    store.upsert([Document("fees", "Nothing to pay any more")], collection="help")
    assert (retriever.refresh().upserted, cut) == (1, ["Nothing to pay any more"])
    assert [hit.id for hit in retriever.search("card")] == ["lost"]
    assert retriever.search("pay")[0].id == "fees"
    assert [hit.id for hit in made().search("pay")] == ["fees"]


def test_the_rarity_of_words_follows_the_collection(made, store):
    """A word that one more row has is worth less in all of them, beside the other words of a question."""
    retriever = made()
    retriever.refresh()
    before = {hit.id: hit.score for hit in retriever.search("stolen fees")}
    store.upsert([Document("more", "Stolen goods and what they cost in the end")], collection="help")
    retriever.refresh()
    after = {hit.id: hit.score for hit in retriever.search("stolen fees")}
    assert after["lost"] / after["fees"] < before["lost"] / before["fees"]


def test_texts_cut_another_way_are_cut_again(made, monkeypatch):
    made().refresh()
    monkeypatch.setattr(keyword_table, "segmenter", lambda: "other")
    again = made()
    assert again.infos()[0].rows == 0
    assert again.refresh().upserted == 3


def test_stems_and_stopwords_are_of_the_cut(made):
    made().refresh()
    assert made().search("listing")[0].id == "fees", "listed and listing have one stem"
    whole = made(stems=False)
    assert whole.infos()[0].rows == 0, "texts with stems cannot be asked without"
    whole.refresh()
    assert whole.search("listing") == []
    assert whole.search("what was the")[0].id == "lost"
    without = made(stopwords=False)
    without.refresh()
    assert [hit.id for hit in without.search("what of a card")][-1] == "fees"
    assert {hit.id for hit in without.search("here the")} == {"fees"}


def test_a_score_is_a_share_of_the_question(made):
    retriever = made()
    retriever.refresh()
    whole, half = (retriever.search(text, k=1)[0].score for text in ("stolen card", "stolen card of a submarine"))
    assert 0 < half < whole < 1


def test_a_broken_table_is_refused(made, tmp_path):
    made().refresh()
    (path,) = (tmp_path / "w").glob("retrievers/help/bm25/0*/vocabulary.json")
    path.write_text(json.dumps(["x"]))
    with pytest.raises(ArtifactError, match="vocabulary"):
        made().search("card")


def test_a_large_collection_is_not_cut_on_the_way(made):
    with pytest.raises(ArtifactError, match="4 rows were not taken in yet"):
        made(small_changes=3).search("card")


def test_it_says_what_is_behind_it(made):
    retriever = made()
    retriever.refresh()
    (info,) = retriever.infos()
    assert (info.backend, info.kind, info.rows, info.note) == ("bm25", "lucene", 3, "")
    assert made(workspace_folder=None).infos()[0].note == "in memory only"
