"""Candidates: few items are scored and the list is nearly that of all; what must not be missing is not missing."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from mercat.artifacts import Artifacts
from mercat.encoders.hashing import Hashing
from mercat.errors import ConfigError
from mercat.indexes.base import IndexFactory
from mercat.indexes.exact import Exact
from mercat.store import Store
from mercat.training.train import train
from mercat.values import Document, Interaction
from mercat_recommendation.candidates import INDEX, POPULAR, TIED, in_turn, merged, questions
from mercat_recommendation.catalogue import Catalogue
from mercat_recommendation.features import NAMES, PERSONAL, History, Moments, personal, personal_of_some
from mercat_recommendation.item_index import ItemIndex
from mercat_recommendation.recipe import Ranker
from mercat_recommendation.service import Recommender
from mercat_recommendation.values import RankRequest

START = datetime(2026, 1, 1, tzinfo=UTC)
ITEMS, GROUPS, USERS, DAYS, SCORED = 2_000, 40, 90, 30, 300
NOW = START + timedelta(days=DAYS)
_LETTERS = "bdfgklmnprstvz"


def words(group: int) -> list[str]:
    """Return invented words of one kind of goods, spelt unlike those of others."""
    rng = np.random.default_rng(group)
    return ["".join(rng.choice(list(_LETTERS))[0] + rng.choice(list("aeiou"))[0] for _ in range(4)) for _ in range(6)]


def goods() -> list[Document]:
    rng = np.random.default_rng(1)
    rows = []
    for number in range(ITEMS):
        group = number % GROUPS
        title = " ".join(rng.choice(words(group), 3, replace=False))
        details = {"category": f"c{group:02d}", "rare": "yes" if number % 100 == 7 else "no"}
        rows.append(Document(f"i{number:04d}", f"{title} {number}", title=title, metadata=details))
    return rows


def events() -> list[Interaction]:
    """Each user likes three kinds; within a kind some items are taken often; a tenth of the events is chance."""
    rng = np.random.default_rng(2)
    rows = []
    per_group = ITEMS // GROUPS
    often = 1.0 / np.arange(1, per_group + 1)
    often /= often.sum()
    for user in range(USERS):
        likes = rng.choice(GROUPS, 3, replace=False)
        for number, day in enumerate(np.sort(rng.uniform(0, DAYS, 25))):
            item = int(rng.choice(likes)) + GROUPS * int(rng.choice(per_group, p=often))
            item = int(rng.integers(ITEMS)) if rng.random() < 0.1 else item
            at = START + timedelta(days=float(day))
            rows.append(Interaction(f"e{user}-{number}", f"u{user:03d}", f"i{item:04d}", "click", at))
    return rows


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with `artifacts/` of a ranker of 2,000 items."""
    folder = tmp_path_factory.mktemp("big")
    with Store.open(f"sqlite:///{folder}/mercat.db") as store:
        store.upsert(goods(), collection="items")
        store.upsert(events(), collection="events")
        recipe = Ranker(Hashing(), collection="events", catalogue="items", window_days=2)
        train(
            recipe,
            name="big",
            store=store,
            artifacts=Artifacts(folder / "artifacts"),
            scratch_root=folder / "scratch",
            recipe_name="recommendation/ranker",
        )
    return folder


@pytest.fixture
def store(tmp_path: Path, big: Path) -> Iterator[Store]:
    shutil.copy(big / "mercat.db", tmp_path / "mercat.db")
    with Store.open(f"sqlite:///{tmp_path}/mercat.db") as opened:
        yield opened


@pytest.fixture
def place(tmp_path: Path) -> Exact:
    return Exact(tmp_path, "items")


@pytest.fixture
def made(store: Store, big: Path) -> Callable[..., Recommender]:
    def make(index: IndexFactory | None, *, candidates: int = SCORED) -> Recommender:
        return Recommender(
            store,
            Artifacts(big / "artifacts"),
            Hashing(),
            artifact="big",
            catalogue="items",
            events="events",
            index=index,
            candidates=candidates,
            clock=lambda: NOW,
        )

    return make


Made = Callable[..., Recommender]


def test_ten_of_a_few_are_ten_of_all(made: Made, place: Exact) -> None:
    asked = [RankRequest(user_id=f"u{user:03d}") for user in range(USERS)]
    few, every = made(place).answer_many(asked), made(None).answer_many(asked)
    same = [len({*one.value} & {*other.value}) / 10 for one, other in zip(few, every, strict=True)]
    assert np.mean(same) >= 0.9
    scores = [{item.item_id: item.score for item in ranking.items} for ranking in every]
    for ranking, known in zip(few, scores, strict=True):
        for item in ranking.items:
            assert item.score == pytest.approx(known.get(item.item_id, item.score), abs=1e-3)


def test_places_name_their_sources(made: Made, place: Exact) -> None:
    few = made(place).answer_many([RankRequest(user_id=f"u{user:03d}") for user in range(30)])
    found = {name for ranking in few for item in ranking.items for name in item.found_by}
    assert found == {INDEX, POPULAR, TIED}
    assert all(item.found_by for ranking in few for item in ranking.items)
    stranger = made(place).answer(RankRequest(user_id="nobody"))
    assert {item.found_by for item in stranger.items} == {(POPULAR,)}
    assert stranger.value == made(None).answer(RankRequest(user_id="nobody")).value


def test_a_catalogue_within_the_bound_is_scored_whole(made: Made, place: Exact) -> None:
    asked = [RankRequest(user_id=f"u{user:03d}", k=20) for user in range(10)]
    assert made(place, candidates=ITEMS).answer_many(asked) == made(None).answer_many(asked)


def test_an_item_nobody_touched_is_reached_through_the_index(made: Made, place: Exact, store: Store) -> None:
    service = made(place)
    service.answer(RankRequest(user_id="u000"))
    title = " ".join(words(5)[:4])
    new = Document("zz-new", f"{title} just in", title=title, metadata={"category": "c05"})
    store.upsert([new], collection="items")
    liked = [f"i{5 + GROUPS * number:04d}" for number in range(40, 44)]
    ranking = service.answer(RankRequest(items=liked, k=100))
    (found,) = [item for item in ranking.items if item.item_id == "zz-new"]
    assert found.found_by == (INDEX,)


def test_a_filter_that_few_items_pass_still_fills_the_list(made: Made, place: Exact) -> None:
    service = made(place, candidates=15)
    ranking = service.answer(RankRequest(user_id="u000", filters={"rare": "yes"}))
    assert len(ranking.items) == 10
    assert all(int(item.item_id[1:]) % 100 == 7 for item in ranking.items)
    wide = service.answer(RankRequest(user_id="u000", k=400))
    assert len(set(wide.value)) == 400


def test_the_index_is_asked_for_open_items_alone_where_few_are(place: Exact) -> None:
    index = ItemIndex(place, Hashing(), collection="items")
    catalogue = Catalogue.of(goods())
    vectors = np.random.default_rng(3).standard_normal((ITEMS, 256)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index.keep_up(dict.fromkeys(catalogue.numbers, 1), catalogue, vectors, sequence=1)
    few = np.zeros(ITEMS, dtype=np.bool_)
    few[[3, 700, 1500]] = True
    assert set(index.nearest(vectors[:1], few, catalogue, size=10).tolist()) == {3, 700, 1500}
    most = np.ones(ITEMS, dtype=np.bool_)
    most[np.argsort(-(vectors @ vectors[0]))[:600]] = False
    best = np.argsort(-np.where(most, vectors @ vectors[0], -2))[:10]
    assert index.nearest(vectors[:1], most, catalogue, size=10).tolist() == best.tolist()


def test_an_item_that_left_is_gone_from_index_and_lists(made: Made, place: Exact, store: Store) -> None:
    service = made(place)
    first = service.answer(RankRequest(user_id="u001", k=50))
    with store.transaction() as tx:
        tx.delete("documents", list(first.value[:25]), collection="items")
    after = service.answer(RankRequest(user_id="u001", k=50))
    assert not set(first.value[:25]) & set(after.value)
    assert len(after.items) == 50
    rows = place.stored()
    assert rows is not None
    assert rows.rows == ITEMS - 25
    assert not set(first.value[:25]) & {*made(place).answer(RankRequest(user_id="u001", k=400)).value}


def test_a_changed_text_moves_the_item(made: Made, place: Exact, store: Store) -> None:
    service = made(place)
    view = service.live.view()
    before = view.vectors[view.catalogue.numbers["i0000"]]
    store.upsert([Document("i0000", "quite another thing", title="another thing")], collection="items")
    service.live.view()
    service.live.view()
    store.upsert([Document(f"i{n:04d}", "x", title=f"other {n}") for n in range(1, 40)], collection="items")
    view = service.live.view()
    index = place.open(256, Hashing().fingerprint, contents="items of items, title+categories+text")
    kept = dict(pair for ids, rows in index.export() for pair in zip(ids, rows, strict=True))
    assert float(kept["i0000"] @ before) < 0.9
    for item, number in view.catalogue.numbers.items():
        assert np.allclose(kept[item], view.vectors[number], atol=1e-5)


def test_a_start_takes_in_only_what_is_new(
    made: Made, place: Exact, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """One change of two thousand waits to be saved, and is taken in again at a start."""
    made(place).live.view()
    store.upsert([Document("zz", "one more", title="one more")], collection="items")
    with caplog.at_level(logging.WARNING):
        view = made(place).live.view()
    assert not caplog.records
    saved = place.stored()
    assert saved is not None
    assert saved.rows == ITEMS
    index = ItemIndex(place, Hashing(), collection="items")
    number = view.catalogue.numbers["zz"]
    index.keep_up({"zz": saved.sequence + 1}, view.catalogue, view.vectors, sequence=saved.sequence + 1)
    every = np.ones(ITEMS + 1, dtype=np.bool_)
    assert index.nearest(view.vectors[[number]], every, view.catalogue, size=1).tolist() == [number]


@pytest.mark.parametrize("what", ["foreign", "broken", "ahead"])
def test_an_index_that_cannot_be_used_is_made_anew_and_says_so(
    what: str, made: Made, place: Exact, caplog: pytest.LogCaptureFixture
) -> None:
    expected = made(place).answer(RankRequest(user_id="u002"))
    if what == "broken":
        for file in place.folder.rglob("vectors.npy"):
            file.write_bytes(b"no")
    else:
        encoder = Hashing(dimensions=64) if what == "foreign" else Hashing()
        contents = "" if what == "foreign" else "items of items, title+categories+text"
        other = place.open(encoder.dimensions, encoder.fingerprint, contents=contents, fresh=True)
        other.upsert(["a"], np.ones((1, encoder.dimensions), dtype=np.float32))
        other.sequence = 10**9
        other.save(place.folder)
    with caplog.at_level(logging.WARNING):
        assert made(place).answer(RankRequest(user_id="u002")) == expected
    assert "made anew" in caplog.text
    saved = place.stored()
    assert saved is not None
    assert (saved.rows, saved.fingerprint) == (ITEMS, Hashing().fingerprint)


def test_a_number_of_candidates_below_one_is_refused(made: Made, place: Exact) -> None:
    with pytest.raises(ConfigError, match="candidates = 500"):
        made(place, candidates=0)


def test_some_are_scaled_as_all_are(made: Made) -> None:
    view = made(None).live.view()
    moments = (Moments.of(view.ties.places), Moments.of(view.vectors))
    history = History.from_items(np.array([3, 50, 1999]), np.array([1.0, 2.0, 1.0], dtype=np.float32))
    some = np.array([0, 7, 50, 1200])
    whole = personal(history, view.ties, view.catalogue, view.vectors)
    part = personal_of_some(history, view.ties, view.catalogue, view.vectors, some=some, moments=moments)
    assert np.allclose(part[:, some], whole[:, some], atol=1e-3)
    assert part[PERSONAL.index("text"), 1] == 0.0
    assert set(PERSONAL) < set(NAMES)
    none = History.from_items(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
    assert not personal_of_some(none, view.ties, view.catalogue, view.vectors, some=some, moments=moments).any()


def test_quotas_without_doubles() -> None:
    lists = {TIED: np.array([1, 2]), INDEX: np.array([2, 3, 4, 5, 6, 7]), POPULAR: np.arange(20)}
    found = merged(lists, size=10, items=30)
    assert int(found.open.sum()) == 10
    assert found.open[[1, 2, 3, 4, 5]].all()
    assert found.found_by[2] == (TIED, INDEX, POPULAR)
    assert set(np.flatnonzero(found.open).tolist()) == set(found.found_by)
    assert in_turn([np.array([1, 2]), np.array([2, 3, 4])]).tolist() == [1, 2, 3, 4]


def test_questions_are_the_mean_and_the_latest() -> None:
    vectors = np.eye(6, dtype=np.float32)
    vectors[5] = 0.0
    history = History.from_items(np.array([0, 1, 2, 3, 5]), np.ones(5, dtype=np.float32))
    asked = questions(history, vectors)
    assert [int(np.argmax(row)) for row in asked[1:]] == [3, 2]
    assert asked[0][3] > asked[0][0] > 0
