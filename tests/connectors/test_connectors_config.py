"""The sections that the README shows can be used as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mercat.connect import Message, Sink, Source
from mercat.errors import UnknownKey
from mercat.workspace import Workspace

README = Path(__file__).parents[2] / "connectors" / "README.md"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    found = re.search(r"```toml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    path = tmp_path / "mercat.toml"
    path.write_text(found[1], encoding="utf-8")
    (tmp_path / "tickets.csv").write_text(
        "body,category,created,language\nhello,x,2026-03-01,en\nhallo,x,2026-03-01,de\n"
    )
    return path


def test_the_sections_of_the_readme(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELPDESK_PASSWORD", "s3cret")
    with Workspace.open(config) as app:
        assert isinstance(app.get("sources", "news"), Source)
        assert isinstance(app.get("sinks", "desk"), Sink)
        (batch,) = app.get("sources", "tickets").read(None)
        assert [(row.text, row.label) for row in batch.rows] == [("hello", "x")]
        app.get("sinks", "file").send(Message(1, "k", "ticket", {"a": 1}))
    assert (config.parent / "outbox.jsonl").exists()


def test_an_unknown_key_names_the_right_one(config: Path) -> None:
    app = Workspace.open(config, overrides=["sources.tickets.delimeter=;"])
    with pytest.raises(UnknownKey, match="Did you mean 'delimiter'"):
        app.get("sources", "tickets")
    app.close()


def test_registering_loads_nothing_heavy() -> None:
    code = (
        "import sys, mercat_connectors.files, mercat_connectors.feeds, mercat_connectors.helpdesk, mercat.connect\n"
        "heavy = {'httpx', 'httpcore', 'feedparser', 'defusedxml', 'csv', 'ssl'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
