"""What is dense retrieval's own: what is encoded when, and what stops it."""

import logging

import numpy as np
import pytest

from mercat.encoders.hashing import Hashing
from mercat.errors import ArtifactError, ConfigError, FingerprintError
from mercat.indexes.exact import Exact
from mercat.retrieval.dense import Dense
from mercat.store import Store
from mercat.testing.retrieval import Clock
from mercat.values import Document, Example, Passage


def notes(count: int, *, start: int = 0, words: str = "about clouds") -> list[Document]:
    return [Document(f"n{n}", f"note {n} {words}") for n in range(start, start + count)]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def made(encoder, store, tmp_path, clock):
    def make(**options):
        given = {"encoder": encoder, "collection": "help", "ticks": clock, "small_changes": 10, **options}
        return Dense(given.pop("encoder"), Exact(tmp_path / "workspace", "help"), given.pop("store", store), **given)

    return make


def test_only_what_changed_is_encoded_and_a_question_as_a_query(made, encoder, store):
    store.upsert(notes(30), collection="help")
    retriever = made()
    assert retriever.refresh().upserted == 30
    assert (len(encoder.texts), encoder.roles) == (30, {"document"})
    encoder.texts.clear()
    store.upsert([*notes(29), Document("n29", "now about the sea")], collection="help")
    assert retriever.refresh().upserted == 1
    assert encoder.texts == ["now about the sea"]
    retriever.search("sea")
    assert encoder.roles == {"document", "query"}


def test_a_start_encodes_nothing_again(made, encoder, store):
    store.upsert(notes(30), collection="help")
    made().refresh()
    encoder.texts.clear()
    assert made().search("note 7 about clouds", k=1)[0].id == "n7"
    assert encoder.texts == ["note 7 about clouds"]


def test_the_constructor_touches_neither_store_nor_index(made, tmp_path):
    class Untouchable:
        def __getattr__(self, name):
            raise AssertionError(name)

    made(encoder=Untouchable(), store=Untouchable())
    assert not (tmp_path / "workspace").exists()


def test_searching_what_was_never_taken_in_says_so_each_time(made, store):
    store.upsert(notes(11), collection="help")
    retriever = made(section_name="answers")
    for _ in range(2):
        with pytest.raises(ArtifactError, match=r"11 rows were not taken in yet.*mercat index build answers"):
            retriever.search("clouds")


def test_a_small_collection_needs_no_refresh(made, store):
    store.upsert(notes(10), collection="help")
    assert made().search("note 7 about clouds", k=1)[0].id == "n7"


def test_many_changes_wait_for_a_refresh_and_a_warning_says_so(made, store, clock, caplog):
    store.upsert(notes(5), collection="help")
    retriever = made()
    retriever.refresh()
    store.upsert(notes(11, start=5), collection="help")
    clock.now += 2
    with caplog.at_level(logging.WARNING):
        assert len(retriever.search("clouds", k=50)) == 5
    assert "more than 10 changes wait" in caplog.text
    retriever.refresh()
    assert len(retriever.search("clouds", k=50)) == 16


def test_what_another_process_took_in_is_opened_not_encoded(made, encoder, store, clock):
    store.upsert(notes(5), collection="help")
    here, there = made(), made()
    here.refresh()
    store.upsert(notes(100, start=5), collection="help")
    there.refresh()
    encoder.texts.clear()
    clock.now += 2
    assert len(here.search("clouds", k=200)) == 105
    assert encoder.texts == ["clouds"]


def test_a_deleted_row_is_never_shown_even_while_changes_wait(made, store, clock):
    store.upsert(notes(20), collection="help")
    retriever = made()
    retriever.refresh()
    with store.transaction() as tx:
        tx.delete("documents", [f"n{n}" for n in range(15)], collection="help")
    clock.now += 2
    assert {hit.id for hit in retriever.search("clouds", k=50)} == {f"n{n}" for n in range(15, 20)}


def test_another_encoder_is_refused_until_rebuilt(made, store):
    store.upsert(notes(5), collection="help")
    made().refresh()
    other = made(encoder=Hashing(dimensions=64))
    for act in (lambda: other.search("clouds"), other.refresh):
        with pytest.raises(FingerprintError, match="mercat index build --anew"):
            act()
    assert other.rebuild().upserted == 5
    assert other.search("note 3 about clouds", k=1)[0].id == "n3"


def test_other_columns_are_refused_until_rebuilt(made, store):
    store.upsert(notes(5), collection="help")
    made().refresh()
    with pytest.raises(ArtifactError, match=r"documents of help, title \+ text|documents of help, title"):
        made(text="title").refresh()


def test_a_store_put_back_to_an_older_state_is_noticed(made, store, tmp_path):
    store.upsert(notes(5), collection="help")
    retriever = made()
    retriever.refresh()
    with Store.open(f"sqlite:///{tmp_path}/older.db") as older:
        older.upsert(notes(2), collection="help")
        with pytest.raises(ArtifactError, match=r"stands at change 5.*--anew"):
            made(store=older).refresh()


def test_an_encoder_that_fails_midway_leaves_no_gap(made, encoder, store, monkeypatch):
    store.upsert(notes(2500), collection="help")
    calls = []

    def failing(texts, *, role="document"):
        calls.append(len(texts))
        if len(calls) == 2:
            raise MemoryError
        return Hashing.encode(encoder, texts, role=role)

    retriever = made()
    with monkeypatch.context() as patch:
        patch.setattr(encoder, "encode", failing)
        with pytest.raises(MemoryError):
            retriever.refresh()
    done = retriever.refresh()
    assert (done.upserted, done.sequence) == (1500, 2500)
    assert len(made().search("clouds", k=3000)) == 2500


def test_while_a_first_refresh_runs_a_search_says_it_is_not_ready(made, encoder, store, monkeypatch):
    store.upsert(notes(20), collection="help")
    retriever, errors = made(), []

    def searching(texts, *, role="document"):
        with pytest.raises(ArtifactError) as error:
            retriever.search("clouds")
        errors.append(str(error.value))
        return Hashing.encode(encoder, texts, role=role)

    with monkeypatch.context() as patch:
        patch.setattr(encoder, "encode", searching)
        retriever.refresh()
    assert "not taken in yet" in errors[0]


def test_the_old_index_answers_during_a_rebuild(made, encoder, store, monkeypatch):
    store.upsert(notes(20), collection="help")
    retriever, seen = made(), []
    retriever.refresh()
    real = encoder.encode

    def searching(texts, *, role="document"):
        if role == "document":
            seen.append(len(retriever.search("clouds", k=50)))
        return real(texts, role=role)

    monkeypatch.setattr(encoder, "encode", searching)
    retriever.rebuild()
    assert seen == [20]


def test_progress_ends_full_when_rows_are_left_out(made, store):
    store.upsert([*notes(3), Document("blank", " ")], collection="help")
    told = []
    retriever = made()
    retriever.refresh(progress=lambda done, total: told.append((done, total)))
    assert told == [(3, 4), (3, 3)]
    told.clear()
    store.upsert(notes(1, words="again"), collection="help")
    retriever.refresh(progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (1, 1)


def test_blank_rows_are_left_out_and_a_row_that_became_blank_goes(made, store):
    store.upsert([*notes(3), Document("blank", "  \n ")], collection="help")
    retriever = made()
    assert retriever.refresh().upserted == 3
    store.upsert([Document("n0", "")], collection="help")
    done = retriever.refresh()
    assert (done.upserted, done.deleted) == (0, 1)
    assert {hit.id for hit in retriever.search("clouds")} == {"n1", "n2"}


def test_texts_without_a_direction_are_left_out_with_a_warning(made, encoder, store, monkeypatch, caplog):
    real = encoder.encode

    def some_zero(texts, *, role="document"):
        vectors = real(texts, role=role)
        vectors[[text == "!!!" for text in texts]] = 0
        return vectors

    monkeypatch.setattr(encoder, "encode", some_zero)
    store.upsert([*notes(3), Document("odd", "!!!")], collection="help")
    retriever = made()
    assert retriever.refresh().upserted == 3
    assert "1 of 4 texts" in caplog.text
    assert "!!!" not in caplog.text
    assert retriever.search("!!!") == []


def test_nan_from_an_encoder_stops_the_refresh(made, encoder, store, monkeypatch):
    store.upsert(notes(3), collection="help")
    monkeypatch.setattr(
        encoder, "encode", lambda texts, role="document": np.full((len(texts), 128), np.nan, np.float32)
    )
    with pytest.raises(Exception, match="NaN"):
        made().refresh()


def test_passages_examples_and_chosen_columns(made, store, tmp_path, encoder):
    store.upsert([Passage("p1", "d1", "passage of rain", metadata={"title": "Weather"})], collection="help")
    store.upsert([Example("e1", "where is my card", "card_arrival")], collection="help")
    passages = made(rows="passages")
    assert passages.refresh().upserted == 1
    assert encoder.texts == ["Weather\npassage of rain"]
    examples = Dense(
        encoder, Exact(tmp_path / "w", "examples"), store, collection="help", rows="examples", text="text + label"
    )
    examples.refresh()
    assert encoder.texts[-1] == "where is my card\ncard_arrival"
    hit = examples.search("card", filters={"label": "card_arrival"})[0]
    assert (hit.id, hit.label) == ("e1", "card_arrival")
    with pytest.raises(ConfigError, match="names no column"):
        made(text=" + ")


def test_moving_to_another_index_encodes_nothing(made, encoder, store, tmp_path):
    store.upsert(notes(30), collection="help")
    retriever = made()
    retriever.refresh()
    encoder.texts.clear()
    target = Exact(tmp_path / "workspace", "new")
    assert retriever.move_to(target).upserted == 30
    assert retriever.move_to(target).upserted == 0
    moved = Dense(encoder, target, store, collection="help")
    assert moved.search("note 7 about clouds", k=1)[0].id == "n7"
    assert moved.refresh().upserted == 0
    assert encoder.texts == ["note 7 about clouds"]


def test_it_says_what_is_behind_it(made, store):
    store.upsert(notes(3), collection="help")
    retriever = made()
    retriever.refresh()
    (info,) = retriever.infos()
    assert (info.backend, info.rows, info.contents) == ("exact", 3, "documents of help, title+text")


class Shortest:
    """Takes the shorter text for the better one."""

    def __init__(self):
        self.texts = []

    def rerank(self, query, texts):
        self.texts += texts
        return -np.array([len(text) for text in texts], dtype=np.float32)


def test_a_reranker_orders_the_first_hits(store, tmp_path):
    store.upsert([Document(f"d{n}", "bank card " + "word " * n) for n in range(6)], collection="help")
    reranker = Shortest()
    index = Exact(tmp_path / "i", "help")
    retriever = Dense(Hashing(), index, store, collection="help", reranker=reranker, rerank=4)
    plain = Dense(Hashing(), index, store, collection="help")
    retriever.refresh()
    question = "word word bank card"
    four = [hit.id for hit in plain.search(question, k=4)]
    assert [hit.id for hit in retriever.search(question, k=2)] == sorted(four)[:2], "four were looked at for two"
    assert len(reranker.texts) == 4
    assert [hit.id for hit in retriever.search(question, k=6)][4:] == [hit.id for hit in plain.search(question, k=6)][
        4:
    ]
    assert retriever.search("  ") == []


def in_segments(encoder, store, folder, clock):
    from mercat.indexes.faiss import Faiss

    place = Faiss(folder / "workspace", "help", device="cpu", tail_rows=16)
    return Dense(encoder, place, store, collection="help", ticks=clock, small_changes=10)


def test_two_processes_keep_one_index_up_to_date_in_turns(encoder, store, tmp_path, clock):
    """Each takes in small changes on the way, in memory; whoever refreshes goes on from what was saved last."""
    pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    store.upsert(notes(100), collection="help")
    here, there = (in_segments(encoder, store, tmp_path, clock) for _ in range(2))
    here.refresh()
    for step in range(4):
        store.upsert(notes(5, start=100 + 10 * step), collection="help")
        clock.now += 2
        assert len(here.search("clouds", k=500)) == len(there.search("clouds", k=500)) == 105 + 10 * step
        store.upsert(notes(5, start=105 + 10 * step), collection="help")
        (here, there)[step % 2].refresh()
    there.rebuild()
    store.upsert(notes(1, words="about the sea"), collection="help")
    assert here.refresh().upserted == 1
    assert len(in_segments(encoder, store, tmp_path, clock).search("clouds", k=500)) == 140


def test_a_refresh_while_another_process_refreshes_is_told_so(made, store, tmp_path):
    store.upsert(notes(5), collection="help")
    retriever = made()
    with Exact(tmp_path / "workspace", "help").writing(), pytest.raises(ArtifactError, match="Another process"):
        retriever.refresh()
    assert retriever.refresh().upserted == 5
