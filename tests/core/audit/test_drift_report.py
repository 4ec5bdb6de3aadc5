from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mercat.audit.drift import as_data, compare_of, drift, findings, save, verdict
from mercat.encoders.hashing import Hashing
from mercat.errors import ConfigError, DataError, UnknownName
from mercat.store import Store
from mercat.testing.training import topic_examples, train_in
from mercat.training.classifying.linear import Linear
from mercat.training.progress import silent
from mercat.values import Document

NOW = datetime(2026, 5, 1, tzinfo=UTC)
STRANGE = "<b>luggage</b> and suitcase 行李 lost at the airport carousel after landing"


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A store, a recipe and its artifact, made from 600 rows."""
    folder = tmp_path_factory.mktemp("drift")
    with Store.open(f"sqlite:///{folder}/mercat.db") as store:
        store.upsert(topic_examples(600), collection="intents")
        recipe = Linear(Hashing(), collection="intents", strength=10.0)
        artifact = train_in(folder, recipe, store=store)
        store.upsert(topic_examples(300, seed=5), collection="same")
        other = [replace(row, id=f"s{at}", text=f"{STRANGE} {row.text}", label="") for at, row in enumerate(_even())]
        store.upsert(other, collection="other")
        yield store, recipe, artifact, folder


def _even():
    return topic_examples(120, seed=6)


def compared(learned, **options):
    store, recipe, artifact, folder = learned
    return compare_of(recipe, artifact, store, scratch=folder / "scratch", progress=silent, **options)


def made(learned, collection):
    return drift(compared(learned, collection=collection), made_at=NOW)


@pytest.fixture(scope="module")
def other(learned):
    return made(learned, "other")


def test_more_of_the_same_is_steady(learned):
    found = made(learned, "same")
    said = verdict(found)
    assert (said.word, said.level) == ("steady", "good")
    assert said.next == "Nothing to do."
    assert found.now.accuracy.n == 300
    assert {each.level for each in findings(found)} == {"good"}


def test_another_world_is_told_with_what_to_do(other):
    found, said = other, verdict(other)
    assert (said.word, said.level) == ("act", "bad")
    assert "mercat update intents" in said.next
    levels = {each.name: each.level for each in findings(found)}
    assert levels["Meaning"] == levels["Unknown words"] == "bad"
    assert found.now.accuracy is None, "nobody labelled them"
    assert "Accuracy" not in levels
    assert "luggage" in dict(found.new_words)
    assert found.told_apart > 0.9
    assert len(found.unlike) == 8


def test_what_the_artifact_knows_never_counts_as_incoming(learned):
    with pytest.raises(DataError, match="There are 0"):
        compared(learned)
    store, *_ = learned
    store.upsert(topic_examples(60, seed=8), collection="intents")
    try:
        assert {row.id for row in compared(learned).incoming} == {row.id for row in topic_examples(60, seed=8)}
    finally:
        with store.transaction() as transaction:
            transaction.delete("examples", [row.id for row in topic_examples(60, seed=8)], collection="intents")


def test_the_reference_was_never_learned(learned):
    found = compared(learned, collection="same")
    assert len(found.reference) == 120
    assert not {row.text for row in found.reference} & {*found.learned}


def test_documents_of_a_time_are_compared(learned):
    store, *_ = learned
    rows = [
        Document(f"d{at}", row.text, published_at=None if at >= 90 else NOW + timedelta(days=at))
        for at, row in enumerate(topic_examples(100, seed=9))
    ]
    store.upsert(rows, collection="tickets")
    found = compared(learned, collection="tickets", since=NOW + timedelta(days=30), until=NOW + timedelta(days=60))
    assert {row.id for row in found.incoming} == {f"d{at}" for at in range(30, 60)}
    assert list(found.notes) == ["10 rows have no time and were left out"]
    assert found.data == "30 rows of the collection 'tickets'"


def test_the_report_is_a_page_and_data_that_agree(learned, other, tmp_path):
    report = save(other, tmp_path / "told")
    page = report.read_text(encoding="utf-8")
    assert '<h1>Drift of intents: <span class="bad">act</span></h1>' in page
    assert "&lt;b&gt;luggage&lt;/b&gt;" in page
    assert "<b>luggage" not in page
    assert not [word for word in ("<script", '<link rel="stylesheet', "http://", "https://", "url(") if word in page]
    data = json.loads((tmp_path / "told" / "drift.json").read_text(encoding="utf-8"))
    assert data == as_data(other)
    assert data["verdict"]["word"] == "act"
    assert data["labels"]["p"] <= 1
    assert data["made_at"] == NOW.isoformat()
    again = as_data(made(learned, "other"))
    assert again == data, "the same rows and seed give the same figures"


def test_what_cannot_be_compared_is_refused_in_three_parts(learned):
    _, _, artifact, folder = learned
    with pytest.raises(UnknownName, match="Did you mean 'same'"):
        compared(learned, collection="sme")
    with pytest.raises(DataError) as caught:
        compared(learned, collection="same", since=NOW)
    assert caught.value.next == "mercat ingest, or --data COLLECTION"
    with pytest.raises(ConfigError, match="needs a text classifier"):
        compare_of(object(), artifact, learned[0], scratch=folder, progress=silent)
