"""Rows that are older than they may be kept."""

from datetime import UTC, datetime, timedelta

import pytest

from mercat.errors import UnknownName
from mercat.store import Store
from mercat.values import Document, Example, Interaction, Passage

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OLD, NEW, LIMIT = NOW - timedelta(days=400), NOW - timedelta(days=10), NOW - timedelta(days=365)


def fill(store: Store) -> None:
    store.upsert(
        [Document("old", "a", published_at=OLD), Document("new", "b", published_at=NEW), Document("undated", "c")],
        collection="news",
    )
    store.upsert([Passage("p-old", "old", "a"), Passage("p-new", "new", "b")], collection="news")
    store.upsert([Document("guide", "kept", published_at=OLD)], collection="help")
    store.upsert([Example("e", "a", "x", at=OLD), Example("f", "b", "x")], collection="labels")
    store.upsert([Interaction("i", "u", "x", "buy", OLD), Interaction("j", "u", "x", "buy", NEW)], collection="clicks")


def test_rows_expire_by_the_time_of_their_event_and_only_where_named(store: Store) -> None:
    fill(store)
    assert store.expire(["news", "clicks", "labels"], before=LIMIT) == {
        "documents of news": 1,
        "interactions of clicks": 1,
        "examples of labels": 1,
    }
    assert set(store.get("documents", "news", ["old", "new", "undated"])) == {"new", "undated"}
    assert [row.id for row in store.rows("passages", "news")] == ["p-new"], "passages go with their document"
    assert [row.id for row in store.rows("documents", "help")] == ["guide"], "nobody named it"
    assert [row.id for row in store.rows("interactions", "clicks")] == ["j"]
    assert store.expire(["news", "clicks", "labels"], before=LIMIT) == {}


def test_followers_learn_what_expired(store: Store) -> None:
    fill(store)
    seen = store.last_sequence("documents", "news")
    store.expire(["news"], before=LIMIT)
    assert [(change.id, change.row) for change in store.changes("documents", "news", after=seen)] == [("old", None)]


def test_a_delivered_message_loses_its_content_and_is_never_sent_again(store: Store) -> None:
    with store.transaction() as tx:
        sent = tx.send("desk", "ticket", {"text": "private"}, key="1", subject="anna")
        waiting = tx.send("desk", "ticket", {"text": "still to go"}, key="2")
    (leased, *_) = store.lease(["desk"], limit=1, lease_s=60, now=datetime.now(UTC))
    store.delivered(leased.id, {"ticket": 7})
    later = datetime.now(UTC) + timedelta(days=1)
    assert leased.id == sent and store.expire(["outbox"], before=later) == {"outbox": 1}
    kept = {row.id: dict(row.payload) for row in store.outbox()}
    assert kept == {sent: {}, waiting: {"text": "still to go"}}
    with store.transaction() as tx:
        assert tx.send("desk", "ticket", {"text": "private"}, key="1") == sent
    assert [row.id for row in store.lease(["desk"], limit=9, lease_s=60, now=later)] == [waiting]


def test_what_does_not_expire_is_told(store: Store) -> None:
    with pytest.raises(UnknownName, match="accounts") as caught:
        store.expire(["accounts"], before=LIMIT)
    assert "outbox" in caught.value.found
