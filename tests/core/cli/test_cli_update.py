"""`mercat update` from the shell: what came in is learned, both versions are shown, a fall is not promoted."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

NEW = ("my suitcase was lost at the airport", "luggage is missing after the flight", "where is my lost suitcase")


def add(place: Path, rows: list[tuple[str, str]]) -> None:
    with (place / "questions.csv").open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows((text, label, "") for text, label in rows)


def test_what_came_in_is_learned_and_shown_beside_the_old_version(run: Any, place: Path) -> None:
    add(place, [(f"{NEW[at % 3]} {at}", "lost_luggage") for at in range(40)])
    assert run("ingest").code == 0
    ran = run("update", "intents")
    assert ran.code == 0, ran
    assert "version 0001" in ran.out
    assert "version 0002" in ran.out
    assert "new rows" in ran.out
    assert "Learned for the first time: lost_luggage" in ran.out
    assert "Version 0002 is promoted. To go back: mercat artifacts rollback intents" in ran.out
    assert run("ask", "desk", "my suitcase was lost", "--json").code == 0
    assert run("evaluate", "intents").code == 0, "with the recipe that made it"
    assert run("artifacts", "rollback", "intents").out.strip() == "intents is back at version 0001."


def test_a_fall_is_kept_and_told(run: Any, place: Path) -> None:
    with (place / "questions.csv").open(newline="", encoding="utf-8") as file:
        learned = [row["text"] for row in csv.DictReader(file)]
    add(place, [(f"{text} {again}", "age_limit") for text in learned for again in range(2)])
    (place / "mercat.toml").write_text(
        (place / "mercat.toml").read_text() + "\n[recipes.intents.update]\nmax_drop = 0.02\nmax_label_drop = 1.0\n"
    )
    assert run("ingest").code == 0
    ran = run("update", "intents")
    assert ran.code == 0, ran
    assert "Version 0002 is kept and not promoted." in ran.out
    assert "0.02 is allowed" in ran.out
    assert "mercat artifacts promote intents 0002" in ran.out
    rows = {row["version"]: row["current"] for row in run("artifacts", "list", "--json").json}
    assert rows == {"0001": True, "0002": False}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("intents",), "none to learn from is new or corrected"),
        (("nothing",), "nothing"),
        (("intents", "--set", "recipes.intents.update.max_fall=1"), "max_fall"),
        (("intents", "--set", "recipes.intents.update=7"), "a table"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(run: Any, place: Path, arguments: tuple[str, ...], said: str) -> None:
    ran = run("update", *arguments)
    assert ran.code == 1, ran
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1
