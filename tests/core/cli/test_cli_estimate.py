"""What a run will need is said before it, and held against what it took afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_an_estimate_trains_nothing(run: Any, place: Path) -> None:
    ran = run("train", "intents", "--estimate")
    assert ran.code == 0, ran
    assert ran.out.startswith("intents: About ")
    assert "516 of 516 parameters learn" in ran.out
    assert ran.out.count("\n") == 1
    assert len(run("artifacts", "list", "--json").json) == 1
    assert not (place / "workspace" / "training" / "intents").exists()


def test_an_estimate_is_data_too(run: Any, place: Path) -> None:
    found = run("train", "--estimate", "--json").json["intents"]
    assert found["seconds"] == sum(found["stages"].values()) > 0
    assert found["trainable_parameters"] == 4 * 129
    assert found["memory_mb"] > 10


def test_a_run_says_what_it_expects_and_what_it_took(run: Any, place: Path) -> None:
    ran = run("train", "intents")
    assert ran.code == 0, ran
    assert ran.out.startswith("intents: About ")
    assert "• Estimated " in ran.out
    assert ", took " in ran.out


def test_an_update_does_so_too(run: Any, place: Path) -> None:
    assert run("ingest", "--set", "sources.questions.path=later.csv").code == 0
    ran = run("update", "intents")
    assert ran.out.startswith("intents: About ")
    assert "• Estimated " in ran.out
