"""backup, restore, new: what is kept, and what a new plugin starts from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mercat

QUESTIONS = ("I want to activate the card.", "how old must I be", "fees of an account", "please cancel my transfer")
WRITER = """
import sys
import mercat
from mercat.values import Document
with mercat.open(sys.argv[1]) as app:
    for n in range(100_000):
        rows = [Document(f"{n}-{i}", "text " * 20) for i in range(10)]
        with app.store.transaction() as tx:
            tx.upsert(rows, collection="busy")
            tx.save_cursor("busy", str(n + 1))
            tx.send("tickets", "ticket", {"n": n}, key=f"busy-{n}")
        print(n, flush=True)
"""


def answers(config: Path) -> list[Any]:
    with mercat.open(config) as app:
        found = [app.ask("desk", text=text, conversation=f"c{n}") for n, text in enumerate(QUESTIONS)]
        hits = app.get("retrievers", "help").search_many(QUESTIONS, k=3)
        scores = app.get("classifiers", "intents").predict_many(QUESTIONS)
        return [found, hits, scores]


def test_a_restored_workspace_answers_like_the_one_that_was_backed_up(run: Any, place: Path, tmp_path: Path) -> None:
    made = run("backup", tmp_path / "kept")
    assert made.code == 0
    assert str(tmp_path / "kept") in made.out
    assert not (tmp_path / "kept" / "indexes").exists()
    before = answers(place / "mercat.toml")
    restored = run("restore", tmp_path / "kept", tmp_path / "back")
    assert restored.code == 0
    config = tmp_path / "back" / "mercat.toml"
    assert (config.parent / "replies.toml").read_bytes() == (place / "replies.toml").read_bytes()
    assert run("index", "build", "--config", config).code == 0
    assert answers(config) == before
    status = [
        run("db", "status", "--json", "--config", path / "mercat.toml").json["cursors"]
        for path in (place, config.parent)
    ]
    assert status[0] == status[1]
    for name in (
        "questions.csv",
        "articles.csv",
    ):  # where a source lies is no part of a backup; where it was read to is
        shutil.copy(place / name, config.parent)
    accounts = run("ingest", "--config", config, "--json").json
    assert [account["stored"] for account in accounts.values()] == [0, 0]


def test_a_backup_while_another_process_writes_is_consistent(run: Any, place: Path, tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, "mercat.toml"], cwd=place, stdout=subprocess.PIPE, text=True
    )
    try:
        assert writer.stdout
        while int(writer.stdout.readline()) < 5:
            pass
        for number in range(3):
            assert run("backup", tmp_path / f"kept{number}").code == 0
        assert writer.poll() is None, "it went on writing"
    finally:
        writer.kill()
        writer.communicate()
    rounds = []
    for number in range(3):
        folder = tmp_path / f"back{number}"
        if number:
            folder.mkdir()  # an empty folder will do
        assert run("restore", tmp_path / f"kept{number}", folder).code == 0
        with mercat.open(folder / "mercat.toml") as app:
            done = int(app.store.cursor("busy") or 0)
            assert app.store.count("documents", "busy") == done * 10, "half a transaction"
            assert len(app.store.outbox()) == done
            rounds.append(done)
    assert rounds[0] >= 6
    assert rounds == sorted(rounds)


@pytest.mark.parametrize("damage", ["the store", "an artifact", "the manifest"])
def test_a_damaged_backup_is_refused(run: Any, place: Path, tmp_path: Path, damage: str) -> None:
    kept = tmp_path / "kept"
    assert run("backup", kept).code == 0
    path = {
        "the store": kept / "store" / "mercat.db",
        "an artifact": next((kept / "artifacts").rglob("head.safetensors")),
        "the manifest": kept / "store" / "manifest.json",
    }[damage]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    refused = run("restore", kept, tmp_path / "back")
    assert refused.code == 1
    assert "Try: " in refused.err
    assert not (tmp_path / "back").exists() or not any((tmp_path / "back").iterdir()), "nothing half-restored is left"


def test_a_restore_does_not_overwrite(run: Any, place: Path, tmp_path: Path) -> None:
    assert run("backup", tmp_path / "kept").code == 0
    assert run("restore", tmp_path / "kept", place).code == 1
    assert run("backup", tmp_path / "kept").code == 1


def test_a_backup_that_breaks_off_leaves_nothing(run: Any, place: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", "kept")

    monkeypatch.setattr("mercat.store.Store.backup", full)
    refused = run("backup", tmp_path / "kept")
    assert refused.code == 1
    assert "No space left" in refused.err
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_new_writes_a_plugin_that_installs_and_passes_its_own_tests(run: Any, tmp_path: Path) -> None:
    """Built as a wheel by its own build backend and unpacked beside the installed packages, then used like any other."""
    written = run("new", "red-or-blue", "--folder", tmp_path)
    assert written.code == 0
    plugin = tmp_path / "mercat-red-or-blue"
    assert f"pip install -e {plugin}" in written.out
    site = tmp_path / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--target",
        str(site),
        str(plugin),
    ]
    installed = subprocess.run(
        pip, capture_output=True, text=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    )
    assert installed.returncode == 0, installed.stderr
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", str(plugin)]
    passed = subprocess.run(tests, capture_output=True, text=True, env=environment, cwd=plugin)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "skipped" not in passed.stdout.splitlines()[-1]
    use = """
import mercat, sys
from mercat.cli.app import main
assert main(["init", "mine", "--plugin", "red-or-blue"]) == 0
open("mine/examples.csv", "w").write("text,label\\n" + "".join(f"a {c} thing {n},{c}\\n" for c in ("red", "blue") for n in range(5)))
hashing = ["--config", "mine/mercat.toml", "--set", "encoders.default.use=hashing", "--set", "encoders.default.model"]
text = open("mine/mercat.toml").read().replace('use = "transformer"\\nmodel = "all-MiniLM-L6-v2"', 'use = "hashing"')
open("mine/mercat.toml", "w").write(text)
assert main(["doctor", "--config", "mine/mercat.toml"]) == 0
assert main(["ingest", "--config", "mine/mercat.toml"]) == 0
with mercat.open("mine/mercat.toml") as app:
    answer = app.ask("red-or-blue", text="some red thing")
    print("ANSWER", answer.value, len(answer.evidence))
"""
    used = subprocess.run([sys.executable, "-c", use], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert used.returncode == 0, used.stdout + used.stderr
    assert "ANSWER red 5" in used.stdout


def test_new_does_not_overwrite(run: Any, tmp_path: Path) -> None:
    assert run("new", "mine", "--folder", tmp_path).code == 0
    again = run("new", "mine", "--folder", tmp_path)
    assert again.code == 1
    assert "It is there already" in again.err


def test_what_new_writes_is_as_clean_as_the_rest(run: Any, tmp_path: Path) -> None:
    assert run("new", "my-vertical", "--folder", tmp_path).code == 0
    root = Path(__file__).parents[3]
    for tool in (["ruff", "check"], ["ruff", "format", "--check"]):
        checked = subprocess.run(
            [sys.executable, "-m", *tool, "--config", str(root / "pyproject.toml"), "."],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert checked.returncode == 0, checked.stdout
