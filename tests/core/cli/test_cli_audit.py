"""`mercat audit` from the shell: the files it writes, what it says, and rows of a file of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def test_an_audit_of_the_test_part_is_a_report_and_data(run: Any, place: Path) -> None:
    ran = run("audit", "intents")
    assert ran.code == 0, ran
    assert "Calibration error" in ran.out
    folder = place / "workspace" / "audits" / "intents" / "0001"
    assert str(folder / "report.html") in ran.out.replace("\n", "")
    data = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    assert (data["schema"], data["name"], data["seed"]) == (1, "intents", 0)
    assert data["rows"] > 0
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "<h1>Audit of intents</h1>" in report
    assert not [word for word in ("<script", '<link rel="stylesheet', "http://", "https://", "url(") if word in report]


def test_the_same_seed_gives_the_same_figures(run: Any, place: Path) -> None:
    one, two = (run("audit", "intents", "--json", "--seed", "3", "--out", folder).json for folder in ("one", "two"))
    for each in (one, two):
        each.pop("made_at")
        each.pop("report")
    assert one == two


def test_rows_of_a_file_are_audited_with_their_columns(run: Any, place: Path) -> None:
    (place / "rows.csv").write_text(
        "text,label,branch\n"
        + "".join(f"how do I activate my card {at},activate_my_card,north\n" for at in range(12))
        + "".join(f"what is the age limit {at},age_limit,<b>south</b>\n" for at in range(12)),
        encoding="utf-8",
    )
    data = run("audit", "intents", "--data", "rows.csv", "--out", "told", "--json").json
    assert (data["rows"], data["data"]) == (24, "rows.csv")
    (branch,) = [each for each in data["slices"] if each["column"] == "branch"]
    assert [(each["value"], each["rows"]) for each in branch["slices"]] == [("<b>south</b>", 12), ("north", 12)]
    assert "<b>south</b>" not in (place / "told" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("text,answer\nx,y\n", "label missing"),
        ("text,label\nx,age_limit\n,age_limit\n", "Line 3 has no text"),
        ("text,label\nx,unheard_of\n", "none of its labels"),
        ("text,label\n", "There are none in rows.csv"),
        (None, "No such file"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_line(run: Any, place: Path, text: str | None, words: str) -> None:
    if text is not None:
        (place / "rows.csv").write_text(text, encoding="utf-8")
    ran = run("audit", "intents", "--data", "rows.csv")
    assert ran.code == 1
    assert words in ran.err
    assert "Try: " in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["audit", "intent"], "Did you mean 'intents'?"),
        (["audit", "intents", "--set", "encoders.default.dimensions=64"], "Try: "),
    ],
)
def test_what_is_not_there_is_told_with_its_cure(run: Any, place: Path, arguments: list[str], words: str) -> None:
    ran = run(*arguments)
    assert ran.code == 1, ran
    assert words in ran.err
    assert ran.err.count("\n") == 1
    assert not (place / "workspace" / "audits").exists()


def test_sizes_below_one_are_usage(run: Any, place: Path) -> None:
    assert run("audit", "intents", "--explained", "0").code == 2
