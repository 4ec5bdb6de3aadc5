from datetime import UTC, datetime, timedelta

import pytest

from mercat.store import Store

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def store(store_url: str):
    with Store.open(store_url, clock=lambda: NOW) as opened:
        yield opened


def send(store: Store, *keys: str, sink: str = "desk", order: str = "", **payload) -> list[int]:
    with store.transaction() as tx:
        return [tx.send(sink, "ticket", payload, key=key, order=order) for key in keys]


def lease(store: Store, *, at: datetime = NOW, limit: int = 10) -> list[str]:
    return [row.key for row in store.lease(["desk"], limit=limit, lease_s=30, now=at)]


def test_a_key_is_sent_once_per_sink(store: Store) -> None:
    first = send(store, "k", "k", "other")
    assert first[0] == first[1] != first[2]
    assert send(store, "k") == [first[0]]
    assert send(store, "k", sink="mail") != [first[0]]
    assert len(store.outbox()) == 3


def test_what_is_rolled_back_is_never_sent(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        tx.send("desk", "ticket", {}, key="k")
        1 / 0
    assert store.outbox() == []


def test_a_lease_keeps_others_away_until_it_ends(store: Store) -> None:
    send(store, "a", "b", "c")
    assert lease(store, limit=2) == ["a", "b"]
    assert lease(store) == ["c"]
    assert lease(store, at=NOW + timedelta(seconds=29)) == []
    send(store, "d")
    later = NOW + timedelta(seconds=30)
    again = [store.lease(["desk"], limit=10, lease_s=30, now=later) for _ in range(5)]
    found = [[(row.key, row.attempt) for row in rows] for rows in again]
    assert found == [[("a", 2)], [("b", 2)], [("c", 2)], [("d", 1)], []], "who lost its sender goes alone"


def test_delivered_failed_and_dead(store: Store) -> None:
    a, b, c = send(store, "a", "b", "c", text="hé")
    lease(store)
    assert store.delivered(a, {"ticket": 7})
    assert store.failed(b, "busy", NOW + timedelta(minutes=1))
    assert store.failed(c, "no such queue", None)
    states = {row.key: (row.state, row.error, dict(row.receipt)) for row in store.outbox()}
    assert states == {
        "a": ("delivered", "", {"ticket": 7}),
        "b": ("waiting", "busy", {}),
        "c": ("dead", "no such queue", {}),
    }
    assert lease(store, at=NOW + timedelta(seconds=59)) == []
    assert lease(store, at=NOW + timedelta(seconds=60)) == ["b"]
    assert [row.key for row in store.outbox("dead")] == ["c"]
    assert store.outbox("dead")[0].payload == {"text": "hé"}
    assert store.revive() == 1
    assert "c" in lease(store, at=NOW + timedelta(seconds=60))


def test_who_lost_the_lease_cannot_speak_for_the_message(store: Store) -> None:
    (id_,) = send(store, "a")
    old = store.lease(["desk"], limit=1, lease_s=1, now=NOW)[0]
    new = store.lease(["desk"], limit=1, lease_s=60, now=NOW + timedelta(seconds=2))[0]
    assert not store.failed(id_, "late", None, attempt=old.attempt)
    assert store.outbox()[0].state == "waiting"
    assert store.failed(id_, "now", None, attempt=new.attempt)


def test_messages_of_one_order_go_one_after_the_other(store: Store) -> None:
    first = send(store, "1", "2", "3", order="conversation-1")
    send(store, "x", order="conversation-2")
    send(store, "free")
    assert lease(store) == ["1", "x", "free"]
    assert lease(store) == []
    store.failed(first[0], "busy", NOW + timedelta(seconds=5))
    assert lease(store) == [], "the second must not overtake the first while that waits for its next try"
    assert lease(store, at=NOW + timedelta(seconds=5)) == ["1"]
    store.delivered(first[0], {})
    assert lease(store, at=NOW + timedelta(seconds=5)) == ["2"]
    store.failed(first[1], "broken", None)
    assert lease(store, at=NOW + timedelta(seconds=5)) == ["3"], "a dead message stops nobody"


def test_other_sinks_are_left_alone(store: Store) -> None:
    send(store, "a", sink="mail")
    assert lease(store) == []
    assert store.lease([], limit=5, lease_s=1, now=NOW) == []
