"""`files/csv` and `files/jsonl`: what is read, what is rejected and why, and going on where reading stopped."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mercat.connect import Batch, Source
from mercat.errors import ConfigError, DataError
from mercat.testing.connect import SourceContract
from mercat.values import Document, Example, Interaction, Row
from mercat_connectors.files.csv import Csv
from mercat_connectors.files.encodings import likely_encoding
from mercat_connectors.files.jsonl import Jsonl

TICKETS = """id,text,category,created,channel
t1,The card is lost,card,2026-03-01T10:00:00Z,mail
t2,"Two lines,
one ""quoted"" field",other,1772359200,chat
t3,,card,2026-03-01,mail
t4,late,card,yesterday,mail
t5,one,two,three
t6,Größe und Preis,other,2026-03-01 12:30:00+02:00,mail

t7,last,card,,mail
"""


def rows(batches: list[Batch]) -> list[Any]:
    return [row for batch in batches for row in batch.rows]


def read(source: Source, cursor: str | None = None) -> tuple[list[Any], list[tuple[str, str]], str]:
    batches = list(source.read(cursor))
    rejected = [(r.where, r.reason) for batch in batches for r in batch.rejected]
    return rows(batches), rejected, batches[-1].cursor if batches else str(cursor)


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    (tmp_path / "tickets.csv").write_text(TICKETS, encoding="utf-8")
    return tmp_path / "tickets.csv"


def csv(path: Path, **options: Any) -> Csv:
    given: dict[str, Any] = {"columns": {"published_at": "created"}} | options
    return Csv(path, **given)


class TestCsvKeepsTheContract(SourceContract):
    expected_rows, expected_rejections = 4, 3

    @pytest.fixture(autouse=True)
    def _path(self, tickets: Path) -> None:
        self.path = tickets

    def make_source(self) -> Source:
        return csv(self.path, batch_rows=1)


class TestJsonlKeepsTheContract(SourceContract):
    expected_rows, expected_rejections = 30, 3

    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = tmp_path
        for number in range(3):
            lines = [json.dumps({"text": f"line {line}", "n": line}) for line in range(10)]
            (tmp_path / f"part{number}.jsonl").write_text("\n".join([*lines[:5], "{broken", "", *lines[5:]]))

    def make_source(self) -> Source:
        return Jsonl(self.path / "*.jsonl", batch_rows=4)


def test_documents(tickets: Path) -> None:
    found, rejected, _ = read(csv(tickets))
    assert found[0] == Document(
        "t1",
        "The card is lost",
        published_at=datetime(2026, 3, 1, 10, tzinfo=UTC),
        metadata={"category": "card", "channel": "mail"},
    )
    assert found[1].text == 'Two lines,\none "quoted" field'
    assert found[1].published_at == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert found[2].published_at == datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
    assert found[3].published_at is None
    assert rejected == [("tickets.csv:3", "no text"), ("tickets.csv:4", "bad date"), ("tickets.csv:5", "ragged row")]


def test_examples_and_where(tickets: Path) -> None:
    source = csv(tickets, to="examples", columns={"label": "category", "group": "channel"}, where={"channel": "mail"})
    found, rejected, _ = read(source)
    assert found[0] == Example(
        "t1", "The card is lost", "card", group="mail", metadata={"created": "2026-03-01T10:00:00Z"}
    )
    assert [row.id for row in found] == ["t1", "t4", "t6", "t7"]
    assert [reason for _, reason in rejected] == ["no text", "ragged row"]


def test_interactions_with_defaults(tmp_path: Path) -> None:
    (tmp_path / "r.tsv").write_text(
        "user_id\titem_id\trating\tts\n1\t10\t4.5\t881250949\n1\t10\t4.5\t881250949\n2\t\t3\t881250949\n"
        "3\t11\tgood\t881250949\n4\t12\t1\t\n5\t13\tnan\t881250949\n6\t14\t2\t1772359200000\n"
    )
    columns = {"at": "ts", "weight": "rating"}
    source = Csv(tmp_path / "r.tsv", to="interactions", columns=columns, defaults={"kind": "rate"})
    found, rejected, _ = read(source)
    at = datetime.fromtimestamp(881250949, tz=UTC)
    assert isinstance(found[0], Interaction)
    assert (found[0].user_id, found[0].item_id, found[0].kind, found[0].at, found[0].weight) == (
        "1",
        "10",
        "rate",
        at,
        4.5,
    )
    assert found[0].id != found[1].id  # the same content twice is two rows
    assert [reason for _, reason in rejected] == ["no item_id", "bad weight", "bad date", "bad weight", "bad date"]


def test_splits_and_labels_are_checked(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label,split\na,x,train\nb,x,dev\nc,,test\n")
    found, rejected, _ = read(Csv(tmp_path / "a.csv", to="examples"))
    assert [row.split for row in found] == ["train"]
    assert [reason for _, reason in rejected] == ["bad split", "no label"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "gb18030"])
@pytest.mark.parametrize("packed", [False, True])
def test_encodings_and_gz(tmp_path: Path, encoding: str, packed: bool) -> None:
    data = "".join(f"{n},Größe {n}\n" for n in range(50))
    path = tmp_path / ("a.csv.gz" if packed else "a.csv")
    raw = ("id,text\n" + data).encode(encoding)
    path.write_bytes(gzip.compress(raw) if packed else raw)
    source = Csv(path, encoding=encoding, batch_rows=7)
    batches = list(source.read(None))
    assert [row.text for row in rows(batches)] == [f"Größe {n}" for n in range(50)]
    assert rows(list(source.read(batches[2].cursor))) == rows(batches)[21:]
    assert batches[0].total == 50


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_text("text\nhello\n", encoding=encoding)
    found, _, _ = read(Csv(tmp_path / "a.csv", encoding="utf-8" if encoding == "utf-8-sig" else encoding))
    assert found[0].text == "hello"
    (tmp_path / "a.jsonl").write_text('{"text": "hello"}\n', encoding="utf-8-sig")
    assert read(Jsonl(tmp_path / "a.jsonl"))[0][0].text == "hello"


@pytest.mark.parametrize(
    ("text", "actual", "said"),
    [
        ("人工智能在金融领域的应用越来越广泛\n" * 30, "gb18030", "utf-8"),
        ("Größe, Straße und Übermut\n" * 30, "cp1252", "utf-8"),
        ("人工智能在金融领域\n" * 30, "utf-8", "gb18030"),
        ("Größe, Straße\n" * 30, "utf-8", "cp1252"),
        ("plain\n" * 30, "utf-16", "utf-8"),
    ],
)
def test_a_wrong_encoding_is_named(tmp_path: Path, text: str, actual: str, said: str) -> None:
    (tmp_path / "a.csv").write_bytes(("text\n" + text).encode(actual))
    with pytest.raises(DataError, match=f'read as {said}. It looks like {actual}. Try: encoding = "{actual}"'):
        read(Csv(tmp_path / "a.csv", encoding=said))


def test_likely_encoding_of_wide_text_without_mark() -> None:
    assert likely_encoding("plain text".encode("utf-16-le")) == "utf-16-le"
    assert likely_encoding("plain text".encode("utf-16-be")) == "utf-16-be"


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_single_bad_rows_are_rejected_one_by_one(tmp_path: Path, kind: str) -> None:
    lines = [f"Größe {n}" for n in range(20)]
    if kind == "jsonl":
        lines = [json.dumps({"text": line}, ensure_ascii=False) for line in lines]
    encoded = [line.encode() for line in lines]
    encoded[7] = lines[7].encode("cp1252")
    encoded[9] = encoded[9].replace(b"Gr", b"\0")
    path = tmp_path / f"a.{kind}"
    path.write_bytes((b"text\n" if kind == "csv" else b"") + b"\n".join(encoded))
    source: Source = Csv(path) if kind == "csv" else Jsonl(path)
    found, rejected, _ = read(source)
    assert len(found) == 18
    assert [(where, reason) for where, reason in rejected] == [
        (f"a.{kind}:8", "bad encoding"),
        (f"a.{kind}:10", "bad encoding"),
    ]


def test_huge_fields_are_rejected_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("w") as file:
        file.write("id,text\n1,one\n2," + "x" * 10_000_000 + "\n3," + "y" * 200_000 + "\n4,four\n")
    tracemalloc.start()
    found, rejected, _ = read(Csv(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [row.id for row in found] == ["1", "4"]
    assert rejected == [("a.csv:2", "row too large"), ("a.csv:3", "field too large")]
    assert peak < 40_000_000


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "a"', "bad JSON"),
        ('["a"]', "not an object"),
        ('"a"', "not an object"),
        ('{"text": NaN}', "bad JSON"),
        ("[" * 100_000, "bad JSON"),
        ('{"text": "\\ud800"}', "bad JSON"),
        ('{"text": null}', "no text"),
        ('{"text": "\\u0000"}', "bad encoding"),
        ('{"text": "   "}', "no text"),
    ],
)
def test_bad_json_lines(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"text": "one"}\n' + line + '\n{"text": "two", "tags": ["x", {"y": 1}], "id": 7}'
    )
    found, rejected, _ = read(Jsonl(tmp_path / "a.jsonl"))
    assert [row.text for row in found] == ["one", "two"]
    assert (found[1].id, found[1].metadata) == ("7", {"tags": ["x", {"y": 1}]})
    assert rejected == [("a.jsonl:2", reason)]


def append(path: Path, text: str) -> None:
    old = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    path.write_bytes(gzip.compress(old + text.encode()) if path.suffix == ".gz" else old + text.encode())


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_an_appended_file_goes_on(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
    append(path, "text\none\ntwo\n")
    source = Csv(path)
    first, _, cursor = read(source)
    assert read(source, cursor) == ([], [], cursor)
    append(path, "three\nfour")
    more, _, cursor = read(source, cursor)
    assert [row.text for row in more] == ["three", "four"]
    append(path, "\nfive\n")
    last, _, cursor = read(source, cursor)
    assert [row.text for row in last] == ["five"]
    assert [row.id for row in first + more + last] == [row.id for row in read(source)[0]]


def test_a_last_row_that_was_half_written_is_read_again(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-16-le"):
        path = tmp_path / "a.csv"
        path.write_bytes("id,text\n1,one\n2,tw".encode(encoding))
        source = Csv(path, encoding=encoding)
        found, _, cursor = read(source)
        assert [row.text for row in found] == ["one", "tw"]
        path.write_bytes("id,text\n1,one\n2,two\n3,three\n".encode(encoding))
        found, _, _ = read(source, cursor)
        assert [(row.id, row.text) for row in found] == [("2", "two"), ("3", "three")]


def test_a_changed_file_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\none\ntwo\n")
    source = Csv(path)
    _, _, cursor = read(source)
    path.write_text("text\nONE\ntwo\nthree\n")
    assert [row.text for row in read(source, cursor)[0]] == ["ONE", "two", "three"]
    path.write_text("text\nshort\n")
    assert [row.text for row in read(source, cursor)[0]] == ["short"]


def test_a_pattern_reads_new_and_grown_files(tmp_path: Path) -> None:
    for name in ("a/x.csv", "b/x.csv"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("text\nsame\n")
    source = Csv(tmp_path / "**" / "*.csv")
    found, _, cursor = read(source)
    assert len({row.id for row in found}) == 2
    append(tmp_path / "a/x.csv", "grown\n")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/x.csv").write_text("text\nnew\n")
    found, _, cursor = read(source, cursor)
    assert [row.text for row in found] == ["grown", "new"]
    assert read(source, cursor)[0] == []


@pytest.mark.parametrize("content", ["", "text,label\n", "\n\n"])
def test_an_empty_file_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match="It is empty"):
        read(Csv(tmp_path / "a.csv"))
    (tmp_path / "a.jsonl").write_text("\n \n")
    with pytest.raises(DataError, match="It is empty"):
        read(Jsonl(tmp_path / "a.jsonl"))


@pytest.mark.parametrize(
    ("path", "found"), [("none.csv", "not there"), (".", "It is a folder"), ("*.csv", "There are none")]
)
def test_missing_files(tmp_path: Path, path: str, found: str) -> None:
    with pytest.raises(DataError, match=found):
        read(Csv(tmp_path / path))


def test_a_torn_gz_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text\n" + b"hello world\n" * 1000)[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        read(Csv(tmp_path / "a.csv.gz"))
    (tmp_path / "b.csv.gz").write_bytes(b"text\nplain\n")
    with pytest.raises(DataError, match="cannot be read"):
        read(Csv(tmp_path / "b.csv.gz"))


def test_columns_that_are_not_there(tmp_path: Path, tickets: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'body'. Its columns: id, text, category, created, channel"):
        read(Csv(tickets, columns={"text": "body"}))
    with pytest.raises(DataError, match=r"no column 'categori'. Did you mean 'category'?"):
        read(Csv(tickets, where={"categori": "x"}))
    with pytest.raises(ConfigError, match=r"maps the field 'body'. documents have: id, text"):
        Csv(tickets, columns={"body": "text"})
    (tmp_path / "semi.csv").write_text("id;text\n1;a\n")
    with pytest.raises(DataError, match=r'Try: delimiter = ";"'):
        read(Csv(tmp_path / "semi.csv"))
    (tmp_path / "twice.csv").write_text("text,text\n1,a\n")
    with pytest.raises(DataError, match="a column twice: text"):
        read(Csv(tmp_path / "twice.csv"))


def test_a_foreign_cursor_is_an_error(tickets: Path) -> None:
    with pytest.raises(DataError, match="of another kind"):
        read(csv(tickets), "{}")


def test_reading_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "big.csv"
    with path.open("w") as file:
        file.write("id,text\n")
        file.writelines(f"{n},this is the text of row {n}\n" for n in range(30_000))
    source = Csv(path)
    tracemalloc.start()
    count, last = 0, None
    for batch in source.read(None):
        count, last = count + len(batch.rows), batch
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert last is not None
    assert (count, last.total) == (30_000, 30_000)
    assert peak < 8_000_000


def test_without_quotes(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('text\n"an open quote\nnext\n')
    found: list[Row] = read(Csv(tmp_path / "a.tsv", quote=""))[0]
    assert [getattr(row, "text", "") for row in found] == ['"an open quote', "next"]
