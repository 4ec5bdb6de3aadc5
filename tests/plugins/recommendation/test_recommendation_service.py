"""The service: who is known, what may be shown, what is new, what is said."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from mercat.artifacts import Artifacts
from mercat.encoders.hashing import Hashing
from mercat.errors import DataError, FingerprintError
from mercat.store import Store
from mercat.testing.plugins import PluginContract, ServiceContract
from mercat.values import Document, Interaction
from mercat_recommendation.service import Recommender
from mercat_recommendation.values import RankRequest


class TestPlugin(PluginContract):
    plugin = "recommendation"


class TestService(ServiceContract):
    requests: ClassVar = [RankRequest(user_id="u00"), RankRequest(items=["cycling01"], k=3), RankRequest(user_id="x")]

    @pytest.fixture(autouse=True)
    def _service(self, recommender: Recommender) -> None:
        self._made = recommender

    def make(self) -> Any:
        return self._made


def tea(ranking: Any) -> float:
    return float(np.mean([item.item_id.startswith("tea") for item in ranking.items]))


def seen_by(store: Store, user: str) -> set[str]:
    return {row.item_id for row in store.rows("interactions", "events") if row.user_id == user}


def test_users_get_their_side_without_what_they_saw(service: Recommender, store: Store) -> None:
    one, other = service.answer_many([RankRequest(user_id="u00", k=4), RankRequest(user_id="u01", k=4)])
    assert tea(one) == 1.0
    assert tea(other) == 0.0
    assert not {item.item_id for item in one.items} & seen_by(store, "u00")
    assert one.removed["seen"] == len(seen_by(store, "u00"))
    assert not one.abstained


def test_reasons_name_a_past_item_and_shared_words(service: Recommender, store: Store) -> None:
    ranking = service.answer(RankRequest(user_id="u00", k=3))
    for item in ranking.items:
        if item.because:
            (past,) = item.because
            assert past in seen_by(store, "u00")
            assert store.get("documents", "items", [past])[past].title in item.reason
    assert any("tea" in item.reason and item.because for item in ranking.items)


def test_reasons_in_chinese(service: Recommender) -> None:
    ranking = service.answer(RankRequest(items=["tea01"], k=3, locale="zh-CN"))
    assert any("“" in item.reason and ("相似" in item.reason or "选择" in item.reason) for item in ranking.items)


def test_a_stranger_gets_what_is_popular_and_is_told(service: Recommender, store: Store, shop: SimpleNamespace) -> None:
    ranking = service.answer(RankRequest(user_id="nobody", k=5))
    assert ranking.abstained
    assert "Nothing is known of 'nobody'" in ranking.reasons[0]
    week = [r.item_id for r in store.rows("interactions", "events") if r.at > shop.now - timedelta(days=7)]
    counts = sorted((-week.count(item), item) for item in set(week))
    assert [-week.count(item.item_id) for item in ranking.items] == [count for count, _ in counts[:5]]
    assert ranking.items[0].reason == f"Chosen {-counts[0][0]} times in the last 7 days"


def test_a_stranger_with_a_context_gets_what_is_popular_there(service: Recommender) -> None:
    ranking = service.answer(RankRequest(k=25, context={"category": "cycling"}))
    assert [item.item_id.startswith("cycling") for item in ranking.items] == [True] * 20 + [False] * 5


def test_a_visitor_is_followed_from_the_first_click(service: Recommender) -> None:
    assert tea(service.answer(RankRequest(items=["cycling03"], k=5))) == 0.0
    assert tea(service.answer(RankRequest(items=["cycling03", "tea01", "tea02", "tea03"], k=5))) >= 0.8
    unknown = service.answer(RankRequest(items=["cycling03", "gone"], k=5))
    assert "1 of the items given are not in the catalogue" in unknown.reasons


def test_an_event_counts_in_the_next_answer_within_a_second(
    service: Recommender, store: Store, shop: SimpleNamespace
) -> None:
    first = service.answer(RankRequest(user_id="newcomer"))
    assert first.abstained
    started = time.monotonic()
    store.upsert([Interaction("n1", "newcomer", "tea05", "click", shop.now)], collection="events")
    after = service.answer(RankRequest(user_id="newcomer", k=5))
    assert time.monotonic() - started < 1.0
    assert not after.abstained
    assert tea(after) == 1.0
    assert "tea05" not in {item.item_id for item in after.items}


def test_the_same_event_twice_counts_once(service: Recommender, store: Store, shop: SimpleNamespace) -> None:
    event = Interaction("n1", "newcomer", "tea05", "click", shop.now)
    store.upsert([event], collection="events")
    store.upsert([event], collection="events")
    view = service.live.view()
    assert int((view.log.user == view.users["newcomer"]).sum()) == 1
    store.upsert([Interaction("n1", "newcomer", "tea06", "click", shop.now)], collection="events")
    view = service.live.view()
    rows = view.log.item[view.log.user == view.users["newcomer"]]
    assert [view.catalogue.items[row].id for row in rows] == ["tea06"]


def test_the_past_does_not_know_the_present(service: Recommender, store: Store, shop: SimpleNamespace) -> None:
    then = shop.now - timedelta(days=10)
    before = service.answer(RankRequest(user_id="u00", at=then))
    store.upsert([Interaction("n1", "u00", "cycling07", "buy", shop.now)], collection="events")
    assert service.answer(RankRequest(user_id="u00", at=then)).items == before.items


def test_events_far_ahead_of_the_clock_wait(service: Recommender, store: Store, shop: SimpleNamespace) -> None:
    soon, late = shop.now + timedelta(minutes=2), shop.now + timedelta(days=2)
    store.upsert([Interaction("n1", "a", "tea05", "click", soon)], collection="events")
    store.upsert([Interaction("n2", "b", "tea05", "click", late)], collection="events")
    a, b = service.answer_many([RankRequest(user_id="a"), RankRequest(user_id="b")])
    assert not a.abstained
    assert b.abstained


def test_an_item_that_nobody_touched_is_reached_by_its_text(service: Recommender, store: Store) -> None:
    service.answer(RankRequest(user_id="u00"))
    fresh = Document(
        "zz-new", "A green tea for every day", title="green tea no 99", metadata={"category": "tea", "price": 6}
    )
    odd = Document("zz-odd", "Sofa cover", title="sofa cover", metadata={"category": "furniture", "price": 6})
    store.upsert([fresh, odd], collection="items")
    ranking = service.answer(RankRequest(user_id="u00", k=42))
    order = [item.item_id for item in ranking.items]
    assert order.index("zz-new") < order.index("zz-odd")
    (found,) = [item for item in ranking.items if item.item_id == "zz-new"]
    assert found.parts["text"] > 0
    assert found.reason == "New in the catalogue" or found.because
    cyclist = [item.item_id for item in service.answer(RankRequest(user_id="u01", k=42)).items]
    assert order.index("zz-new") < cyclist.index("zz-new")


def test_an_item_without_text_and_one_that_leaves(service: Recommender, store: Store) -> None:
    store.upsert([Document("bare", "")], collection="items")
    assert "bare" in service.answer(RankRequest(k=100)).value
    with store.transaction() as tx:
        tx.delete("documents", ["bare"], collection="items")
    assert "bare" not in service.answer(RankRequest(k=100)).value


def test_events_before_the_item_existed_are_counted_and_left_out(
    service: Recommender, store: Store, shop: SimpleNamespace
) -> None:
    store.upsert([Document("later", "x", published_at=shop.now - timedelta(days=1))], collection="items")
    store.upsert([Interaction("n1", "a", "later", "click", shop.now - timedelta(days=2))], collection="events")
    store.upsert([Interaction("n2", "a", "tea01", "teleport", shop.now)], collection="events")
    assert service.live.view().rejected == {"before the item existed": 1, "unknown kind": 1}
    assert service.answer(RankRequest(user_id="a")).abstained


def test_an_item_of_tomorrow_is_not_shown_today(service: Recommender, store: Store, shop: SimpleNamespace) -> None:
    store.upsert([Document("later", "x", published_at=shop.now + timedelta(days=1))], collection="items")
    now, then = service.answer_many([RankRequest(k=100), RankRequest(k=100, at=shop.now + timedelta(days=2))])
    assert "later" not in now.value
    assert now.removed["not yet there"] == 1
    assert "later" in then.value


def test_never_fewer_without_saying_so(service: Recommender) -> None:
    ranking = service.answer(RankRequest(k=500))
    assert len(ranking.items) == 40
    assert "40 of 500 items: the catalogue has no more" in ranking.reasons
    assert len(set(ranking.value)) == 40


def test_a_filter_that_nothing_passes(service: Recommender) -> None:
    ranking = service.answer(RankRequest(user_id="u00", filters={"colour": "ultraviolet"}))
    assert ranking.value == ()
    assert ranking.abstained
    assert ranking.confidence == 0.0
    assert ranking.reasons[-1].startswith("0 of 10 items: ")
    assert ranking.removed["filters"] + ranking.removed["seen"] == 40


def test_rules_are_kept_and_counted(service: Recommender, store: Store) -> None:
    store.upsert(
        [Document("tea00", "x", title="green tea no 0", metadata={"category": "tea", "stock": "0"})], collection="items"
    )
    ranking = service.answer(
        RankRequest(k=40, blocked=["tea01", "nothing"], filters={"category": ["tea"], "max_price": 6})
    )
    assert ranking.removed == {"out of stock": 1, "blocked": 1, "filters": 38 - len(ranking.items)}
    prices = {row.id: row.metadata.get("price") for row in store.rows("documents", "items")}
    assert ranking.items
    assert all(prices[item] <= 6 and item.startswith("tea") for item in ranking.value)


def test_diversity_mixes_the_list(service: Recommender) -> None:
    vectors = {
        item.id: v for item, v in zip(service.live.view().catalogue.items, service.live.view().vectors, strict=True)
    }

    def likeness(diversity: float) -> float:
        found = service.answer(RankRequest(items=["tea01"], k=8, diversity=diversity))
        rows = np.stack([vectors[item] for item in found.value])
        return float((rows @ rows.T)[np.triu_indices(8, 1)].mean())

    assert likeness(0.7) < likeness(0.0) - 0.02


def test_an_erased_user_is_a_stranger_and_counts_no_more(
    service: Recommender, store: Store, shop: SimpleNamespace
) -> None:
    rows = [Interaction(f"n{n}", "fan", "tea19", "buy", shop.now) for n in range(30)]
    store.upsert([*rows, Interaction("n99", "fan", "tea18", "buy", shop.now)], collection="events")
    with_fan = service.answer(RankRequest(k=40))
    assert not service.answer(RankRequest(user_id="fan")).abstained
    store.erase("fan")
    without = service.answer(RankRequest(k=40))
    assert service.answer(RankRequest(user_id="fan")).abstained
    assert with_fan.value[0] == "tea19"
    assert without.value[0] != "tea19"
    assert "fan" not in service.live.view().users


def test_a_user_with_a_hundred_thousand_events(service: Recommender, shop: SimpleNamespace, tmp_path: Path) -> None:
    from mercat_recommendation.features import History, personal

    view = service.live.view()
    items = np.random.default_rng(0).integers(len(view.catalogue), size=100_000)
    started = time.monotonic()
    history = History.from_items(items, np.ones(100_000, dtype=np.float32))
    assert np.isfinite(personal(history, view.ties, view.catalogue, view.vectors)).all()
    assert time.monotonic() - started < 1.0


def test_bounds_are_errors_that_name_them(service: Recommender) -> None:
    for request in (RankRequest(k=0), RankRequest(k=10_001), RankRequest(diversity=1.5)):
        with pytest.raises(DataError, match="from"):
            service.answer(request)


def test_another_encoder_is_refused(store: Store, trained: Path) -> None:
    other = Recommender(
        store,
        Artifacts(trained / "artifacts"),
        Hashing(dimensions=64),
        artifact="shop",
        catalogue="items",
        events="events",
    )
    with pytest.raises(FingerprintError, match="mercat train shop"):
        other.answer(RankRequest())


def test_a_new_version_and_the_way_back_count_at_once(store: Store, tmp_path: Path, shop: SimpleNamespace) -> None:
    shop.train_in(tmp_path, store)
    artifacts = Artifacts(tmp_path / "artifacts")
    service = Recommender(store, artifacts, Hashing(), artifact="shop", catalogue="items", events="events")
    assert service.live.view().version == "0001"
    answer = service.answer(RankRequest(user_id="u00", at=shop.now))
    shop.train_in(tmp_path, store)
    assert service.live.view().version == "0002"
    artifacts.rollback("shop")
    assert service.live.view().version == "0001"
    assert service.answer(RankRequest(user_id="u00", at=shop.now)).value == answer.value
