import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mercat.connect.base import Batch, Rejection
from mercat.errors import ConnectError, StoreError
from mercat.flow import Language, Redact, ingest
from mercat.flow.transforms import Transform, language, redact
from mercat.store import Store
from mercat.values import Document, Example, Interaction
from mercat_connectors.files.csv import Csv

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Given:
    """A source that hands out batches; its cursor is the number of the batch."""

    def __init__(self, *batches: Sequence, rejected: Sequence[Rejection] = ()) -> None:
        self.batches, self.rejected = batches, rejected

    def read(self, cursor: str | None) -> Iterator[Batch]:
        for number, rows in enumerate(self.batches, 1):
            if number > int(cursor or 0):
                yield Batch(rows, str(number), rejected=self.rejected if number == 1 else (), total=len(self.batches))


def docs(*ids: str, text: str = "a text") -> list[Document]:
    return [Document(each, f"{text} {each}") for each in ids]


def test_rows_are_stored_and_a_second_run_reads_nothing(store: Store) -> None:
    source = Given(docs("a", "b"), docs("c"))
    first = ingest(source, store, name="s", collection="c")
    assert (first.sent, first.stored, first.cursor) == (3, 3, "2")
    assert ingest(source, store, name="s", collection="c").sent == 0
    again = ingest(source, store, name="s", collection="c", restart=True)
    assert (again.sent, again.duplicate, again.stored) == (3, 3, 0)
    assert store.get("documents", "c", ["a"])["a"].source == "s"


def test_every_reason_is_counted_and_named(store: Store) -> None:
    rows = [
        Document("fine", "text"),
        Document("fine", "text, later"),
        Document("empty", " \n"),
        Document("long", "x" * 101),
        Document("nul", "a\0b"),
        Document("unwanted", "drop me"),
        Document("bad", "break me"),
        Example("e", "text", "label"),
        Interaction("i", "", "item", "view", AT),
    ]

    def picky(row):
        assert "break" not in getattr(row, "text", "")
        return None if "drop" in getattr(row, "text", "") else row

    source = Given(rows, rejected=[Rejection("s:1", "bad date", "32 May")])
    account = ingest(source, store, name="s", collection="c", transforms=[picky], max_chars=100)
    assert account.stored == 2
    assert account.duplicate == 1, "the first of two rows with one id"
    assert account.repeated == 1
    assert account.rejected == {
        "bad date": 1,
        "no text": 1,
        "text too long": 1,
        "cannot be stored": 1,
        "picky failed": 1,
        "no user or item": 1,
    }
    assert account.dropped == {"by picky": 1}
    assert account.sent == len(rows) + 1
    assert {each.where for each in account.rejections} == {"s:1", "s:empty", "s:long", "s:nul", "s:bad", "s:i"}
    assert str(account).startswith("s: 10 rows: 2 stored, 1 duplicate, 6 rejected, 1 dropped (1 bad date")
    assert store.get("documents", "c", ["fine"])["fine"].text == "text, later"


def test_ten_megabytes_are_refused_by_default(store: Store) -> None:
    account = ingest(Given([Document("a", "x" * 10_000_000)]), store, name="s", collection="c")
    assert account.rejected == {"text too long": 1}


def test_who_was_erased_does_not_come_back(store: Store) -> None:
    store.erase("anna")
    rows = [Document("a", "t", subject="anna"), Document("b", "t", subject="bob")]
    account = ingest(Given([*rows, Interaction("i", "anna", "x", "buy", AT)]), store, name="s", collection="c")
    assert (account.stored, account.dropped) == (1, {"person was erased": 2})


def test_a_source_that_breaks_off_keeps_what_came_before(store: Store) -> None:
    class Breaking(Given):
        def read(self, cursor):
            yield from super().read(cursor)
            raise ConnectError("GET /tickets", "no answer", "run it again")

    with pytest.raises(ConnectError):
        ingest(Breaking(docs("a"), docs("b")), store, name="s", collection="c")
    assert store.cursor("source:s") == "2"
    assert store.count("documents", "c") == 2
    assert ingest(Given(docs("a"), docs("b"), docs("c")), store, name="s", collection="c").stored == 1


def test_others_write_while_a_source_is_slow(store: Store) -> None:
    class Slow(Given):
        def read(self, cursor):
            for batch in super().read(cursor):
                store.upsert(docs(f"other {batch.cursor}"), collection="else")
                yield batch

    assert ingest(Slow(docs("a"), docs("b")), store, name="s", collection="c").stored == 2
    assert store.count("documents", "else") == 2


def test_two_runs_of_one_source_are_told_apart(store: Store) -> None:
    class Overtaken(Given):
        def read(self, cursor):
            yield Batch(docs("a"), "1")
            ingest(Given(docs("a"), docs("b"), docs("c")), store, name="s", collection="c")
            yield Batch(docs("late"), "2")

    with pytest.raises(StoreError, match="Another run has moved its cursor"):
        ingest(Overtaken(), store, name="s", collection="c")
    assert store.cursor("source:s") == "3"
    assert store.count("documents", "c") == 3


def test_progress_is_told(store: Store) -> None:
    told = []
    ingest(
        Given(docs("a", "b"), docs("c")),
        store,
        name="s",
        collection="c",
        progress=lambda stage, done, total, **figures: told.append((stage, done, total)),
    )
    assert told == [("read s", 2, 2), ("read s", 3, 2), ("read s", 3, 3)]


def test_progress_of_a_later_run_ends_full(store: Store, tmp_path: Path) -> None:
    """The source counts all its rows, a later run reads only those that are new."""
    file = tmp_path / "rows.csv"
    file.write_text("text\none\ntwo\n")
    runs: list[list[tuple[int, int]]] = []
    for more in ("", "three\n", ""):
        with file.open("a") as writing:
            writing.write(more)
        runs.append([])
        ingest(
            Csv(file, to="documents"),
            store,
            name="s",
            collection="c",
            progress=lambda stage, done, total, **figures: runs[-1].append((done, total)),
        )
    assert [told[-1:] for told in runs] == [[(2, 2)], [(1, 1)], []]


def test_redaction_reaches_texts_title_and_metadata() -> None:
    redacting = Redact()
    row = redacting(
        Document(
            "a", "write to ann@example.com", title="bob@example.com", metadata={"to": [{"cc": "c@example.com"}], "n": 3}
        )
    )
    assert "example.com" not in repr(row)
    assert row.metadata["n"] == 3
    pair = redacting(Example("e", "x@example.com", "l", text_pair="y@example.com"))
    assert "@" not in pair.text + pair.text_pair
    assert redacting(Interaction("i", "u", "x", "buy", AT)).user_id == "u"
    assert isinstance(redact(), Transform)


def test_nothing_is_stored_that_was_not_redacted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    redacting = Redact()
    monkeypatch.setattr(redacting._redactor, "redact", lambda text: 1 / 0)
    account = ingest(Given(docs("a")), store, name="s", collection="c", transforms=[redacting])
    assert account.rejected == {"redact failed": 1}
    assert store.count("documents", "c") == 0


def test_the_locale_is_filled_in_only_where_it_is_missing() -> None:
    known = Document("a", "Wo ist meine Karte und warum ist sie nicht da?", locale="en")
    assert Language()(known) is known
    assert language()(dataclasses.replace(known, locale="")).locale == "de"


RUNS = itertools.count()
ROW = st.tuples(
    st.sampled_from(["a", "b", "c", "d", "e"]),
    st.sampled_from(["text", "other", "", "  ", "drop", "break", "nul \0", "half \ud83d", "x" * 50]),
    st.sampled_from(["document", "example", "erased"]),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(ROW, max_size=12), min_size=1, max_size=4), bad=st.integers(0, 3))
def test_the_account_adds_up_and_the_store_agrees(store: Store, batches, bad: int) -> None:
    store.erase("erased person")
    collection = f"run {next(RUNS)}"

    def picky(row):
        if row.text == "break":
            raise ValueError
        return None if row.text == "drop" else row

    made = [[_made(*row) for row in batch] for batch in batches]
    source = Given(*made, rejected=[Rejection("x", "bad date")] * bad)
    account = ingest(source, store, name=collection, collection=collection, transforms=[picky], max_chars=40)
    assert account.sent == sum(map(len, batches)) + bad
    kinds = Counter(kind for kind, name, _ in store.collections() if name == collection)
    kept = sum(store.count(kind, collection) for kind in kinds)
    good = {
        (type(row), row.id)
        for batch in made
        for row in batch
        if row.text in ("text", "other") and row.subject != "erased person"
    }
    assert kept == len(good)
    again = ingest(
        source, store, name=collection, collection=collection, transforms=[picky], max_chars=40, restart=True
    )
    assert again.sent == account.sent
    assert (again.rejected, again.dropped) == (account.rejected, account.dropped)


def _made(id: str, text: str, form: str):
    if form == "example":
        return Example(id, text, "label")
    return Document(id, text, subject="erased person" if form == "erased" else "")
