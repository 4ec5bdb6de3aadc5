"""Commands called as the console script calls them, and one learned workspace that each test gets a copy of."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from mercat.cli.app import main

CONFIG = """
[mercat]
folder = "workspace"

[encoders.default]
use = "hashing"
dimensions = 128

[sources.questions]
use = "files/csv"
path = "questions.csv"
to = "examples"
collection = "intents"

[sources.articles]
use = "files/csv"
path = "articles.csv"
collection = "help"

[recipes.intents]
use = "linear"
encoder = "default"
collection = "intents"
strength = 10.0

[classifiers.intents]
use = "trained"
artifact = "intents"
encoder = "default"

[indexes.help]
use = "exact"

[indexes.other]
use = "exact"

[retrievers.help]
use = "dense"
encoder = "default"
index = "help"
collection = "help"

[services.desk]
use = "customer-service"
intents = "intents"
help = "help"
replies = "replies.toml"
sink = "tickets"

[sinks.tickets]
use = "files/outbox"
path = "tickets.jsonl"
"""
LABELS = ("activate_my_card", "age_limit", "automatic_top_up", "cancel_transfer")


@dataclass(frozen=True)
class Ran:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The output as JSON by the letter: no NaN, nothing before or after."""
        return json.loads(self.out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Ran(code, out, err)

    return call


def write_workspace(folder: Path) -> Path:
    """Write a configuration with the sample data of the customer-service plugin, cut to a few intents."""
    spec = find_spec("mercat_customer_service")
    assert spec and spec.origin
    demo = Path(spec.origin).parent / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("articles.csv", "replies.toml"):
        shutil.copy(demo / name, folder)
    with (demo / "questions.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] in LABELS]
    with (folder / "questions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("text", "label", "split"))
        writer.writeheader()
        writer.writerows(rows)
    later = [{"text": f"{text} {row['text']}", "label": row["label"]} for row in rows[:60] for text in ("Well,", "So,")]
    with (folder / "later.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("text", "label"))
        writer.writeheader()
        writer.writerows(later)
    (folder / "mercat.toml").write_text(CONFIG, encoding="utf-8")
    return folder


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with configuration and data, nothing done yet; the working folder of the test."""
    folder = write_workspace(tmp_path / "fresh")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ingested, trained and indexed, once."""
    folder = write_workspace(tmp_path_factory.mktemp("learned") / "shop")
    config = ["--config", str(folder / "mercat.toml"), "--json"]
    assert main(["ingest", *config]) == 0
    assert main(["train", *config]) == 0
    return folder


@pytest.fixture
def place(learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the learned workspace; the working folder of the test."""
    folder = Path(shutil.copytree(learned, tmp_path / "place"))
    monkeypatch.chdir(folder)
    return folder
