from datetime import UTC, datetime, timedelta, timezone

import pytest

from mercat.errors import DataError, StoreError
from mercat.store import Change, Store, problem_of
from mercat.values import Document, Example, Interaction, Passage

AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
ROWS = [
    Document(
        "d",
        "naïve café 貓",
        title="T",
        url="https://x.example/1",
        source="desk",
        locale="fr",
        published_at=AT,
        updated_at=AT + timedelta(hours=1),
        subject="anna",
        metadata={"tags": ["a", {"deep": 1.5}], "none": None},
    ),
    Passage("p", "d", "café", 6, 10, {"page": 3}),
    Example("e", "text", "label", text_pair="b", split="train", group="g", at=AT, subject="bob", metadata={"x": True}),
    Interaction("i", "anna", "item", "buy", AT, 2.5, "session", {"price": 3}),
]
KINDS = ["documents", "passages", "examples", "interactions"]


@pytest.mark.parametrize(("kind", "row"), [*zip(KINDS, ROWS, strict=True)], ids=KINDS)
def test_a_row_reads_back_as_it_was_written(store: Store, kind: str, row) -> None:
    assert store.upsert([row], collection="c").changed == [row.id]
    assert store.get(kind, "c", [row.id]) == {row.id: row}
    assert list(store.rows(kind, "c")) == [row]
    assert store.changes(kind, "c", after=0) == [Change(1, row.id, row)]
    assert store.collections() == [(kind, "c", 1)]


def test_times_of_other_zones_come_back_in_utc(store: Store) -> None:
    there = AT.astimezone(timezone(timedelta(hours=-7)))
    store.upsert([Document("d", "t", published_at=there)], collection="c")
    found = store.get("documents", "c", ["d"])["d"].published_at
    assert found == AT
    assert found.tzinfo is UTC


def test_writing_twice_is_writing_once(store: Store) -> None:
    rows = [Document(f"{n}", f"text {n}") for n in range(50)]
    first = store.upsert(rows, collection="c")
    again = store.upsert(rows, collection="c")
    assert (len(first.changed), first.unchanged, first.sequence) == (50, 0, 50)
    assert (again.changed, again.unchanged, again.sequence) == ([], 50, 50)
    assert store.last_sequence("documents", "c") == 50


def test_only_what_differs_is_a_change(store: Store) -> None:
    store.upsert([Document("a", "1"), Document("b", "1")], collection="c")
    upserted = store.upsert(
        [Document("a", "1"), Document("b", "1", metadata={"k": 1}), Document("n", "1")], collection="c"
    )
    assert upserted.changed == ["b", "n"]
    assert [change.id for change in store.changes("documents", "c", after=2)] == ["b", "n"]


def test_of_a_repeated_id_the_last_row_counts(store: Store) -> None:
    upserted = store.upsert([Document("a", "old"), Document("b", "b"), Document("a", "new")], collection="c")
    assert (sorted(upserted.changed), upserted.repeated) == (["a", "b"], 1)
    assert store.get("documents", "c", ["a"])["a"].text == "new"


def test_a_deleted_row_stays_as_a_change_without_its_text(store: Store) -> None:
    store.upsert([Document("a", "secret", subject="anna"), Document("b", "b")], collection="c")
    with store.transaction() as tx:
        assert tx.delete("documents", ["a", "never"], collection="c") == ["a"]
    assert store.changes("documents", "c", after=2) == [Change(3, "a", None)]
    assert store.count("documents", "c") == 1
    assert store.get("documents", "c", ["a"]) == {}
    with store.transaction() as tx:
        assert tx.delete("documents", ["a"], collection="c") == []
    assert store.upsert([Document("a", "secret", subject="anna")], collection="c").changed == ["a"]


def test_changes_come_in_pages_without_gaps(store: Store) -> None:
    for start in range(0, 60, 20):
        store.upsert([Example(f"{n:03}", "t", "l") for n in range(start, start + 20)], collection="c")
        store.upsert([Example(f"{n:03}", "t", "l") for n in range(start, start + 20)], collection="other")
    seen, after = [], 0
    while page := store.changes("examples", "c", after=after, limit=7):
        seen += [change.id for change in page]
        after = page[-1].sequence
    assert seen == [f"{n:03}" for n in range(60)]


def test_rows_stream_in_order_of_id_by_code_point(store: Store) -> None:
    ids = ["b", "A", "a", "Z", "é", "_", "10", "9"]
    store.upsert([Example(each, "t", "l", split="test" if each < "a" else "train") for each in ids], collection="c")
    assert [row.id for row in store.rows("examples", "c")] == sorted(ids)
    assert [row.id for row in store.rows("examples", "c", split="test")] == sorted(each for each in ids if each < "a")
    assert [row.id for row in store.rows("examples", "c", limit=3)] == sorted(ids)[:3]
    assert [row.id for row in store.rows("examples", "c", ids=["b", "no", "A"])] == ["A", "b"]


def test_many_rows_stream_over_several_pages(store: Store) -> None:
    store.upsert([Document(f"{n:05}", "t") for n in range(2345)], collection="c")
    assert [row.id for row in store.rows("documents", "c")] == [f"{n:05}" for n in range(2345)]
    assert len(store.get("documents", "c", (f"{n:05}" for n in range(5000)))) == 2345


def test_a_cursor_is_saved_with_its_rows_or_not_at_all(store: Store) -> None:
    store.upsert([Document("a", "1")], collection="c", cursor=("source:x", "1"))
    with pytest.raises(DataError):
        store.upsert([Document("b", "nul \0")], collection="c", cursor=("source:x", "2"))
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        tx.upsert([Document("c", "1")], collection="c")
        tx.save_cursor("source:x", "3")
        assert tx.cursor("source:x") == "3"
        1 / 0
    assert store.cursor("source:x") == "1"
    assert store.cursor("never") is None
    assert store.count("documents", "c") == 1
    assert store.last_sequence("documents", "c") == 1


@pytest.mark.parametrize(
    ("row", "word"),
    [
        (Document("a", "nul \0"), "NUL"),
        (Document("a", "half \ud83d"), "surrogates"),
        (Document("", "text"), "id is empty"),
        (Document("a", "t", published_at=datetime(2026, 1, 1)), "no time zone"),
        (Document("a", "t", metadata={"x": float("nan")}), "JSON"),
        (Document("a", "t", metadata={"x": object()}), "JSON"),
        (Document("a", None), "expected str"),  # type: ignore[arg-type]
        (Interaction("a", "u", "i", "view", AT, float("inf")), "weight"),
    ],
)
def test_what_one_database_would_refuse_both_do(store: Store, row, word: str) -> None:
    assert word in (problem_of(row) or "")
    with pytest.raises(DataError):
        store.upsert([row], collection="c")


def test_rows_of_two_types_are_refused(store: Store) -> None:
    with pytest.raises(DataError, match="several types"):
        store.upsert([ROWS[0], ROWS[2]], collection="c")


def test_a_kind_that_is_none_is_told(store: Store) -> None:
    with pytest.raises(DataError, match="no rows of kind 'articles'"):
        store.count("articles", "c")


def test_a_transaction_in_a_transaction_is_told_and_harms_nothing(store: Store) -> None:
    with store.transaction() as tx:
        tx.upsert([Document("a", "1")], collection="c")
        with pytest.raises(StoreError, match="inside a transaction"):
            store.upsert([Document("b", "1")], collection="c")
    assert store.count("documents", "c") == 1


def test_the_source_names_rows_that_name_none(store: Store) -> None:
    store.upsert([Document("a", "1"), Document("b", "1", source="own")], collection="c", source="files")
    found = store.get("documents", "c", ["a", "b"])
    assert [found["a"].source, found["b"].source] == ["files", "own"]
