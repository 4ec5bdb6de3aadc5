"""`mercat drift` from the shell: the files it writes, the verdict, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def test_what_came_in_is_compared_and_judged(run: Any, place: Path) -> None:
    assert run("ingest", "--set", "sources.questions.path=later.csv").code == 0
    ran = run("drift", "intents")
    assert ran.code == 0, ran
    assert "Labels given" in ran.out
    assert any(ran.out.count(f"\n{word}: ") for word in ("steady", "watch", "act"))
    folder = place / "workspace" / "drift" / "intents" / "0001"
    assert str(folder / "drift.html") in ran.out.replace("\n", "")
    data = json.loads((folder / "drift.json").read_text(encoding="utf-8"))
    assert data["data"] == "120 rows of the collection 'intents'"
    assert (folder / "drift.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_another_world_asks_to_act_and_is_put_where_asked(run: Any, place: Path) -> None:
    rows = "".join(f"我的行李在机场丢了 {at},age_limit\n" for at in range(40))
    (place / "later.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    assert (
        run("ingest", "--set", "sources.questions.path=later.csv", "--set", "sources.questions.collection=tickets").code
        == 0
    )
    data = run("drift", "intents", "--data", "tickets", "--out", "told", "--json").json
    assert data["verdict"]["word"] == "act"
    assert "mercat update intents" in data["verdict"]["next"]
    assert data["language_shares"][0]["name"] in ("en", "zh")
    assert data["report"] == str(Path("told") / "drift.html")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("intents",), "There are 0"),
        (("intents", "--data", "halp"), "Did you mean 'help'?"),
        (("intents", "--data", "help", "--since", "2026-05-01"), "There are 0"),
        (("intent",), "Did you mean 'intents'?"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_line(
    run: Any, place: Path, arguments: tuple[str, ...], said: str
) -> None:
    ran = run("drift", *arguments)
    assert ran.code == 1, ran
    assert said in ran.err
    assert "Try: " in ran.err
    assert len(ran.err.strip().splitlines()) == 1
