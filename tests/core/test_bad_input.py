"""Whatever comes in: a clear error in three parts, or a rejection that is counted. Never a traceback, never silence."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mercat
from mercat.errors import ArtifactError, ConfigError, DataError, FingerprintError, MercatError, StoreError, UnknownKey
from mercat.jobs import ingest_source, refresh_all, train_recipe
from mercat.values import Example
from mercat.workspace import Workspace

CONFIG = """
[sources.rows]
use = "files/csv"
path = "rows.csv"
to = "examples"
collection = "rows"

[sources.lines]
use = "files/jsonl"
path = "rows.jsonl"
collection = "lines"

[encoders.default]
use = "hashing"
dimensions = 64

[recipes.intents]
use = "linear"
encoder = "default"
collection = "rows"
strength = 1.0

[classifiers.intents]
use = "trained"
artifact = "intents"
encoder = "default"

[indexes.rows]
use = "exact"

[retrievers.rows]
use = "dense"
encoder = "default"
index = "rows"
collection = "rows"
rows = "examples"
"""
ROWS = "id,text,label\n" + "".join(
    f"{label}{n},{label} number {n},{label}\n" for label in ("card", "fee") for n in range(12)
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which everything is well: trained and indexed."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "mercat.toml").write_text(CONFIG)
    (folder / "rows.csv").write_text(ROWS)
    with mercat.open(folder / "mercat.toml") as app:
        ingest_source(app, "rows")
        train_recipe(app, "intents")
        refresh_all(app)
    return folder


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The configuration and no rows yet."""
    (tmp_path / "mercat.toml").write_text(CONFIG)
    return tmp_path


def write(name: str, content: str | bytes) -> Callable[[Path], object]:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def configure(old: str, new: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / "mercat.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def take(app: Workspace) -> Any:
    return ingest_source(app, "rows")


def learn(app: Workspace) -> Any:
    ingest_source(app, "rows")
    return train_recipe(app, "intents")


def classify(app: Workspace) -> Any:
    return app.get("classifiers", "intents").predict_many(["card"])


def search(app: Workspace) -> Any:
    return app.get("retrievers", "rows").search("card")


def labelled(*labels: str) -> str:
    return "id,text,label\n" + "".join(f"{n},text number {n},{label}\n" for n, label in enumerate(labels))


Case = tuple[Callable[[Path], object], Callable[[Workspace], Any], type[MercatError], str]
ON_NOTHING: dict[str, Case] = {
    "no file": (lambda folder: None, take, DataError, "It is not there"),
    "an empty file": (write("rows.csv", b""), take, DataError, "It is empty"),
    "a header and nothing else": (write("rows.csv", "id,text,label\n"), take, DataError, "It is empty"),
    "blank lines": (write("rows.csv", "\n\n\n"), take, DataError, "rows.csv"),
    "another encoding": (
        write("rows.csv", ROWS.replace("number", "Größe").encode("latin-1")),
        take,
        DataError,
        "utf-8",
    ),
    "chinese in GBK": (
        write("rows.csv", ROWS.replace("number", "储蓄罐的利率是多少").encode("gbk")),
        take,
        DataError,
        "utf-8",
    ),
    "UTF-16": (write("rows.csv", ROWS.encode("utf-16")), take, DataError, "utf-16"),
    "a picture": (write("rows.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40), take, DataError, "rows.csv"),
    "no column text": (write("rows.csv", "id,txt,label\n1,a,b\n"), take, DataError, "Did you mean 'txt'?"),
    "semicolons": (write("rows.csv", "id;text;label\n1;a;b\n"), take, DataError, 'delimiter = ";"'),
    "a column twice": (write("rows.csv", "id,text,text,label\n1,a,b,c\n"), take, DataError, "twice"),
    "a broken gzip": (
        lambda folder: (
            (folder / "rows.csv.gz").write_bytes(gzip.compress(ROWS.encode())[:60]),
            configure("rows.csv", "rows.csv.gz")(folder),
        ),
        take,
        DataError,
        "cannot be read",
    ),
    "a folder": (lambda folder: (folder / "rows.csv").mkdir(), take, DataError, "It is a folder"),
    "an encoding that nobody knows": (
        lambda folder: (
            write("rows.csv", ROWS)(folder),
            configure('"rows.csv"', '"rows.csv"\nencoding = "utf-9"')(folder),
        ),
        take,
        MercatError,
        "utf-9",
    ),
    "nothing to learn from": (lambda folder: None, lambda app: train_recipe(app, "intents"), DataError, "none there"),
    "one label": (write("rows.csv", labelled(*["a"] * 20)), learn, DataError, "1 label"),
    "every label seen once": (write("rows.csv", labelled(*"abcdefghij")), learn, DataError, "label"),
    "a search before anything was taken in": (
        lambda folder: None,
        lambda app: (app.store.upsert([Example(f"{n}", "t", "l") for n in range(100)], collection="rows"), search(app)),
        ArtifactError,
        "mercat index build rows",
    ),
    "a classifier before it was trained": (lambda folder: None, classify, ConfigError, "mercat train intents"),
}
ON_GOOD: dict[str, Case] = {
    "an unknown key": (
        configure("dimensions = 64", "dimension = 64"),
        search,
        UnknownKey,
        "Did you mean 'dimensions'?",
    ),
    "another encoder for the classifier": (
        configure("= 64", "= 32"),
        classify,
        FingerprintError,
        "mercat train intents",
    ),
    "another encoder for the index": (configure("= 64", "= 32"), search, FingerprintError, "mercat index build"),
    "a head that was cut off": (
        lambda folder: next(folder.rglob("head.safetensors")).write_bytes(b"abc"),
        classify,
        ArtifactError,
        "mercat train intents",
    ),
    "a pointer to nowhere": (
        lambda folder: (folder / "workspace/artifacts/intents/current").write_text("0099\n"),
        classify,
        MercatError,
        "0099",
    ),
    "an empty pointer": (
        lambda folder: (folder / "workspace/artifacts/intents/current").write_text(""),
        classify,
        MercatError,
        "intents",
    ),
    "a database that is none": (
        lambda folder: [path.write_bytes(b"no database " * 400) for path in (folder / "workspace").glob("mercat.db*")],
        search,
        StoreError,
        "damaged or no database",
    ),
    "a store of another version": (
        lambda folder: sqlite(folder, "update mercat_version set version_num = 'from the future'"),
        search,
        StoreError,
        "mercat db upgrade",
    ),
}


def sqlite(folder: Path, statement: str) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(folder / "workspace" / "mercat.db")) as database:
        database.execute(statement)
        database.commit()


@pytest.mark.parametrize("name", [*ON_NOTHING, *ON_GOOD])
def test_an_error_says_what_was_asked_what_was_found_and_what_to_do(name: str, good: Path, tmp_path: Path) -> None:
    folder = tmp_path / "place"
    if name in ON_GOOD:
        shutil.copytree(good, folder)
    else:
        folder.mkdir()
        (folder / "mercat.toml").write_text(CONFIG)
    prepare, act, kind, words = (ON_NOTHING | ON_GOOD)[name]
    prepare(folder)
    with pytest.raises(kind) as caught, mercat.open(folder / "mercat.toml") as app:
        act(app)
    error = caught.value
    assert error.asked and error.found and error.next, error.args
    assert words in str(error), str(error)
    assert len(str(error)) < 700, "an error is a line, not a page"


LONG = "x" * 10_000_000
REJECTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "a row without text": ("9,,card\n", {"rejected": {"no text": 1}}),
    "a row of blanks": ("9,   ,card\n", {"rejected": {"no text": 1}}),
    "a row without label": ("9,text,\n", {"rejected": {"no label": 1}}),
    "a row that is too short": ("9\n", {"rejected": {"ragged row": 1}}),
    "a row that is too long": ("9,text,card,more\n", {"rejected": {"ragged row": 1}}),
    "a text of 10 MB": (f"9,{LONG},card\n", {"rejected": {"row too large": 1}}),
    "a text of 1 MB": (f"9,{LONG[:1_000_000]},card\n", {"rejected": {"field too large": 1}}),
    "an id that comes twice": ("card3,card number 3,card\n", {"duplicate": 1, "repeated": 1}),
    "an id that comes twice with another text": ("card3,another text,card\n", {"stored": 25, "repeated": 1}),
    "a zero byte": ("9,te\0xt,card\n", {"rejected": {"bad encoding": 1}}),
}


@pytest.mark.parametrize("name", REJECTIONS)
def test_a_bad_row_is_counted_and_the_others_are_taken(bare: Path, name: str) -> None:
    row, expected = REJECTIONS[name]
    (bare / "rows.csv").write_text(ROWS + row + "last,the last row,fee\n", encoding="utf-8")
    with mercat.open(bare / "mercat.toml") as app:
        account = ingest_source(app, "rows")
        assert {key: getattr(account, key) for key in expected} == expected
        assert account.sent == 26
        assert account.stored + account.duplicate + sum(account.rejected.values()) == 26
        assert app.store.get("examples", "rows", ["last", "card3"]).keys() == {"last", "card3"}
        assert ingest_source(app, "rows").sent == 0


def test_bad_lines_of_json_are_counted(bare: Path) -> None:
    lines = [
        '{"id": "1", "text": "good"}',
        "{oops",
        '"a text"',
        '{"id": "2"}',
        "null",
        json.dumps({"id": "3", "text": LONG}),
        '{"id": "4", "text": 7}',
    ]
    (bare / "rows.jsonl").write_text("\n".join(lines) + "\n")
    with mercat.open(bare / "mercat.toml") as app:
        account = ingest_source(app, "lines")
        assert account.sent == len(lines)
        assert account.stored + sum(account.rejected.values()) == len(lines)
        assert app.store.get("documents", "lines", ["1"])
        assert not app.store.get("documents", "lines", ["3"])
        assert all(reason for reason in account.rejected)


def test_a_label_seen_once_is_left_out_and_said(bare: Path) -> None:
    (bare / "rows.csv").write_text(ROWS + "odd,an odd text,odd\n")
    with mercat.open(bare / "mercat.toml") as app:
        ingest_source(app, "rows")
        artifact = train_recipe(app, "intents")
        assert any("odd" in note for note in artifact.details["notes"])
        assert "odd" not in app.get("classifiers", "intents").labels


def test_texts_that_nobody_expects_get_an_answer(good: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(good, tmp_path / "place")
    texts = [
        "",
        " ",
        "\n\t",
        "\0",
        "\ud800",
        "x" * 1_000_000,
        "🤷" * 1000,
        "؟" * 100,
        "a\u0300" * 1000,
        "DROP TABLE examples; --",
    ]
    with mercat.open(folder / "mercat.toml") as app:
        predictions = app.get("classifiers", "intents").predict_many(texts)
        assert all(0 <= prediction.scores[0] <= 1 for prediction in predictions)
        assert len(app.get("retrievers", "rows").search_many(texts, k=3)) == len(texts)
        assert app.store.count("examples", "rows") == 24


def test_a_disk_that_takes_no_more_is_told_and_nothing_is_lost(bare: Path) -> None:
    """No file may grow above half a megabyte, as on a disk with nothing left; then the limit goes away."""
    rows = "id,text,label\n" + "".join(f"{n},{'word ' * 200}{n},l{n % 2}\n" for n in range(2000))
    (bare / "rows.csv").write_text(rows)
    (bare / "mercat.toml").write_text(CONFIG.replace('path = "rows.csv"\n', 'path = "rows.csv"\nbatch_rows = 50\n'))
    with mercat.open(bare / "mercat.toml") as app:
        app.store.upgrade()
    command = [sys.executable, "-m", "mercat.cli.app", "ingest", "rows", "--no-index", "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    small = ["bash", "-c", 'ulimit -f 488 && exec "$@"', "bash"]  # of 1,024 bytes

    full = subprocess.run([*small, *command], cwd=bare, capture_output=True, text=True, env=environment)
    assert full.returncode == 1, full
    assert "Traceback" not in full.stderr
    assert full.stderr.count("\n") == 1
    assert "disk" in full.stderr
    assert "Try: " in full.stderr
    with mercat.open(bare / "mercat.toml") as app:
        kept = app.store.count("examples", "rows")
        assert 0 < kept < 2000
        assert kept % 50 == 0, "whole batches"
    done = subprocess.run(command, cwd=bare, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"]["stored"] == 2000 - kept
