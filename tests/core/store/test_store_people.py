"""Erasure, objections, keys and accounts."""

from datetime import UTC, datetime

import pytest

from mercat.errors import AccessError, DataError
from mercat.store import Change, Store
from mercat.values import Answer, Document, Example, Hit, Interaction, Objection, Passage, TextRequest

AT = datetime(2026, 3, 1, tzinfo=UTC)
SECRET = "anna-lives-in-the-blue-house"


def fill(store: Store) -> None:
    store.upsert(
        [Document("d", SECRET, title=SECRET, subject="anna", metadata={"x": SECRET}), Document("other", "kept")],
        collection="c",
    )
    store.upsert([Passage("p", "d", SECRET, metadata={"x": SECRET}), Passage("q", "other", "kept")], collection="c")
    store.upsert([Passage("s", "unknown", SECRET, metadata={"subject": "anna"})], collection="elsewhere")
    store.upsert([Example("e", SECRET, SECRET, subject="anna", group=SECRET)], collection="c")
    store.upsert([Interaction("i", "anna", "x", "buy", AT), Interaction("j", "bob", "x", "buy", AT)], collection="c")
    with store.transaction() as tx:
        tx.send("desk", "ticket", {"subject": "anna", "text": SECRET}, key="1")
        tx.send("desk", "ticket", {"text": SECRET}, key="2", subject="anna")
        tx.send("desk", "ticket", {"text": "kept"}, key="3")
    request = TextRequest(id="r", text=SECRET, context={"subject": "anna"})
    store.object("desk", request, Answer(SECRET, 0.9), [Objection("rude", "guard")])


def test_a_person_is_erased_everywhere_and_only_that_person(store: Store) -> None:
    fill(store)
    assert store.erase("anna") == {
        "passages": 2,
        "documents": 1,
        "examples": 1,
        "interactions": 1,
        "outbox": 2,
        "objections": 1,
    }
    assert store.collections() == [("documents", "c", 1), ("passages", "c", 1), ("interactions", "c", 1)]
    assert [row.key for row in store.outbox()] == ["3"]
    assert store.objections.recent() == []
    assert store.erase("anna") == {}


def test_followers_learn_of_the_erasure(store: Store) -> None:
    fill(store)
    before = store.last_sequence("interactions", "c")
    store.erase("anna")
    changes = [store.changes(kind, "c", after=before) for kind in ("documents", "passages", "examples", "interactions")]
    assert [[(change.id, change.row) for change in found] for found in changes] == [
        [("d", None)],
        [("p", None)],
        [("e", None)],
        [("i", None)],
    ]


def test_only_a_hash_of_the_person_stays(store: Store) -> None:
    fill(store)
    assert not store.was_erased("anna")
    store.erase("anna")
    assert store.was_erased("anna")
    assert not store.was_erased("bob")
    assert not store.was_erased("")
    with store.transaction() as tx:
        assert tx.erased_among(["anna", "bob", ""]) == {"anna"}


def test_nothing_of_the_text_stays_in_the_files(tmp_path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'mercat.db'}") as store:
        store.upsert([Document("d", SECRET + " an older version", subject="anna")], collection="c")
        store.upsert([Document("long", SECRET * 2000, subject="anna")], collection="c")
        fill(store)
        assert any(SECRET.encode() in path.read_bytes() for path in tmp_path.iterdir())
        store.erase("anna")
        assert not any(SECRET.encode() in path.read_bytes() for path in tmp_path.iterdir())
        assert not any(b"anna" in path.read_bytes() for path in tmp_path.iterdir())


def test_nobody_cannot_be_erased(store: Store) -> None:
    store.upsert([Document("d", "of nobody")], collection="c")
    with pytest.raises(DataError, match="subject is empty"):
        store.erase("")
    assert store.count("documents", "c") == 1


def test_an_erased_document_may_come_back_by_hand(store: Store) -> None:
    fill(store)
    store.erase("anna")
    assert store.upsert([Document("d", "new", subject="anna")], collection="c").changed == ["d"]
    last = store.last_sequence("documents", "c")
    row = store.get("documents", "c", ["d"])["d"]
    assert store.changes("documents", "c", after=last - 1) == [Change(last, "d", row)]


def test_a_withheld_answer_is_kept_with_all_objections(store: Store) -> None:
    answer = Answer({"at": AT}, 0.5, evidence=[Hit("h", 0.25)])
    store.object("desk", TextRequest(id="r", text="?"), answer, [Objection("a", "one"), Objection("b", "two")])
    first, second = store.objections.recent()
    assert [(first.plugin, first.reason), (second.plugin, second.reason)] == [("one", "a"), ("two", "b")]
    assert (first.service, first.request_id, first.request["text"]) == ("desk", "r", "?")
    assert first.answer["value"] == {"at": str(AT)}
    assert first.answer["evidence"][0]["score"] == 0.25
    assert store.objections.recent(after=first.id) == [second]
    store.object("desk", TextRequest(), answer, [])
    assert len(store.objections.recent()) == 2


def test_a_key_is_shown_once_and_found_by_its_hash(store: Store) -> None:
    key, entry = store.accounts.create_key("ci", ["ask", "admin", "ask"])
    assert entry.scopes == ("admin", "ask")
    assert store.accounts.find_key(key) == entry
    assert store.accounts.keys() == [entry]
    rows = _everything_in(store, "api_keys")
    assert key not in rows
    assert key.split("_")[2] not in rows
    assert entry.prefix in rows


def _everything_in(store: Store, name: str) -> str:
    with store._reading() as connection:
        return repr(connection.exec_driver_sql(f"SELECT * FROM {name}").all())


@pytest.mark.parametrize("wrong", ["", "x", "mercat_", "mercat_a_b_c", "mercat_aaaaaaaa_bbbb_cccccccc", "\ud800_a_b_c"])
def test_wrong_keys_are_nobodys(store: Store, wrong: str) -> None:
    store.accounts.create_key("ci", ["ask"])
    assert store.accounts.find_key(wrong) is None


def test_a_key_with_a_good_checksum_and_a_wrong_secret_is_nobodys(store: Store) -> None:
    from zlib import crc32

    key, _ = store.accounts.create_key("ci", ["ask"])
    body = "_".join(key.split("_")[:2]) + "_" + "0" * 64
    assert store.accounts.find_key(f"{body}_{crc32(body.encode()):08x}") is None


def test_a_revoked_key_is_nobodys(store: Store) -> None:
    key, entry = store.accounts.create_key("ci", ["ask"])
    store.accounts.revoke_key(entry.prefix)
    assert store.accounts.find_key(key) is None
    assert store.accounts.keys()[0].revoked_at is not None
    with pytest.raises(AccessError, match="cannot be revoked"):
        store.accounts.revoke_key(entry.prefix)


def test_people_have_hashed_passwords_only(store: Store) -> None:
    accounts = store.accounts
    with pytest.raises(AccessError, match="not hashed"):
        accounts.set_user("bob", "hunter2", ["ask"])
    first = accounts.set_user("bob", "$argon2id$a", ["ask"])
    assert accounts.user("bob") == first
    again = accounts.set_user("bob", "$argon2id$b", ["admin"], disabled=True)
    assert (again.created_at, again.disabled, again.scopes) == (first.created_at, True, ("admin",))
    assert accounts.users() == [again]
    assert accounts.remove_user("bob")
    assert not accounts.remove_user("bob")
    assert accounts.user("bob") is None
