"""The session of the page on audits, typed as it stands in a small workspace."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mercat.cli.app import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
PARTS = ("calibration", "fairness", "robustness", "explanations", "labels", "leaks", "model card")


def fenced(info: str) -> str:
    (found,) = re.findall(rf"^```{info}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def workspaces() -> ModuleType:
    """The small workspace of the tests of commands."""
    spec = importlib.util.spec_from_file_location("cli_fixtures", ROOT / "tests" / "core" / "cli" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks its module up
    spec.loader.exec_module(module)
    return module


def test_the_session_says_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    folder = workspaces().write_workspace(tmp_path / "bank")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    (folder / "rows.csv").write_text(fenced("csv"), encoding="utf-8")
    assert main(["ingest"]) == main(["train"]) == 0
    commands = [block.splitlines() for block in fenced("console").split("$ ")[1:]]
    assert len(commands) == 3
    for line, *shown in commands:
        capsys.readouterr()
        assert main(shlex.split(line)[1:]) == 0
        said = "".join(capsys.readouterr().out.split())
        assert [each for each in shown if "".join(each.strip(" …").split()) not in said] == []
    for files in (folder / "told", folder / "workspace" / "audits" / "intents" / "0001"):
        assert {each.name for each in files.iterdir()} == set(re.findall(r"^\| `(\S+)` \|", PAGE, re.MULTILINE))


def test_the_python_says_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    script = fenced("python")
    exec(compile(script, "audit.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"^print.*  # (.*)$", script, re.MULTILINE)


def test_the_page_names_every_part_and_as_many_ways_as_there_are() -> None:
    from mercat.audit.page import SECTIONS
    from mercat.text.variants import WAYS

    rows = set(re.findall(r"^\| ([a-z ]+) \|", PAGE, re.MULTILINE))
    assert rows >= set(PARTS)
    assert [title.lower() for _, title in SECTIONS] == list(PARTS)
    assert f"{'fourteen' if len(WAYS) == 14 else len(WAYS)} ways to write the same text" in PAGE
