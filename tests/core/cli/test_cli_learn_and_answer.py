"""ingest, index, train, evaluate, artifacts, ask, erase."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import mercat


def ids(app: Any, kind: str, collection: str) -> list[str]:
    return [row.id for row in app.store.rows(kind, collection)]


def test_ingesting_twice_is_ingesting_once(run: Any, fresh: Path) -> None:
    first = run("ingest", "--json").json
    assert first["questions"]["stored"] > 200
    assert first["articles"]["stored"] > 10
    with mercat.open("mercat.toml") as app:
        before = ids(app, "examples", "intents")
        last = app.store.last_sequence("examples", "intents")
    again = run("ingest", "--json").json
    assert again["questions"] | {"cursor": 0} == again["questions"] | {"cursor": 0, "stored": 0, "duplicate": 0}
    with mercat.open("mercat.toml") as app:
        assert ids(app, "examples", "intents") == before
        assert app.store.last_sequence("examples", "intents") == last


def test_only_new_rows_are_taken_and_only_they_are_encoded(run: Any, place: Path) -> None:
    with (place / "articles.csv").open("a", encoding="utf-8") as file:
        file.write("parking,en,Parking,There is a car park behind the branch.,https://bank.example/parking\n")
        file.write("empty,en,Empty,,https://bank.example/empty\n")
    account = run("ingest", "articles", "--json").json["articles"]
    assert (account["stored"], account["rejected"]) == (1, {"no text": 1})
    with mercat.open("mercat.toml") as app:
        assert app.get("retrievers", "help").search("where can I park the car", k=1)[0].id == "parking"
    table = run("ingest", "articles")
    assert "articles" in table.out


def test_ingest_without_index_leaves_the_index_as_it_is(run: Any, fresh: Path) -> None:
    assert run("ingest", "--no-index", "--json").code == 0
    (row,) = run("index", "info", "--json").json
    assert row["rows"] == 0
    (built,) = run("index", "build", "--json").json
    assert built["upserted"] > 10
    (row,) = run("index", "info", "--json").json
    assert row["rows"] == built["upserted"]


def test_following_takes_rows_in_until_it_is_told_to_stop(fresh: Path) -> None:
    config = fresh / "mercat.toml"
    text = config.read_text().replace('path = "articles.csv"\n', 'path = "articles.csv"\nevery_s = 0.2\n')
    config.write_text(text)
    command = [sys.executable, "-m", "mercat.cli.app", "ingest", "--follow"]
    process = subprocess.Popen(command, cwd=fresh, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: count(config, "documents", "help") > 10, process)
        with (fresh / "articles.csv").open("a", encoding="utf-8") as file:
            file.write("parking,en,Parking,There is a car park.,https://bank.example/parking\n")
        wait_for(lambda: has(config, "parking"), process)
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert "articles" in out


def wait_for(condition: Any, process: Any, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)


def count(config: Path, kind: str, collection: str) -> int:
    if not (config.parent / "workspace" / "mercat.db").exists():
        return 0
    with mercat.open(config) as app:
        return int(app.store.count(kind, collection))


def has(config: Path, id: str) -> bool:
    with mercat.open(config) as app:
        return bool(app.store.get("documents", "help", [id]))


def test_parameters_are_searched_and_the_best_are_kept(run: Any, place: Path) -> None:
    pytest.importorskip("optuna", reason="optuna is not installed")
    space = ["--space", "strength=0.001..1000:log"]
    (made,) = run("train", "intents", "--trials", "3", *space, "--no-promote", "--json").json
    strength = made["config"]["strength"]
    assert 0.001 <= strength <= 1000
    shown = run("train", "intents", "--trials", "3", *space, "--no-promote")
    assert "3 trials on the validation part" in shown.out
    assert f"strength = {strength}" in shown.out, "the same search again finds the same"
    assert run("train", "intents", *space).code == 2, "a space alone tries nothing"
    assert "--space strength" in run("train", "intents", "--trials", "2", "--space", "strength").err


def test_an_index_is_built_anew_and_moved(run: Any, place: Path) -> None:
    (info,) = run("index", "info", "--json").json
    assert info["backend"] == "exact"
    (nothing,) = run("index", "build", "--json").json
    assert nothing["upserted"] == 0
    (anew,) = run("index", "build", "help", "--anew", "--json").json
    assert anew["upserted"] == info["rows"]
    moved = run("index", "move", "help", "other")
    assert moved.code == 0
    assert "Nothing is switched yet. To switch: mercat index move help other --switch" in moved.out
    again = run("index", "move", "help", "other", "--json").json
    assert (again["upserted"], again["unchanged"], again["overlap@10"]) == (0, info["rows"], 1.0)
    assert "mercat index back help" in run("index", "move", "help", "other", "--switch").out
    (switched,) = run("index", "info", "--json").json
    assert switched["before"] == "encoder 'default' and index 'help'"
    assert "encoder 'default' and index 'help' again" in run("index", "back", "help").out
    (there,) = run("index", "info", "--json", "--set", 'retrievers.help.index="other"').json
    assert there["rows"] == info["rows"]
    with (
        mercat.open("mercat.toml") as here,
        mercat.open("mercat.toml", overrides=["retrievers.help.index=other"]) as app,
    ):
        asked = "fees of an account"
        assert app.get("retrievers", "help").search(asked) == here.get("retrievers", "help").search(asked)


def test_training_makes_versions_that_can_be_promoted_and_taken_back(run: Any, place: Path) -> None:
    (made,) = run("train", "--seed", "1", "--no-promote", "--json").json
    assert (made["name"], made["version"], made["seed"]) == ("intents", "0002", 1)
    versions = {row["version"]: row for row in run("artifacts", "list", "--json").json}
    assert [versions[v]["current"] for v in ("0001", "0002")] == [True, False]
    assert versions["0001"]["metrics"]
    assert "version 0002" in run("artifacts", "promote", "intents", "0002").out
    assert run("artifacts", "list", "--json").json[1]["current"] is True
    assert "back at version 0001" in run("artifacts", "rollback", "intents").out
    assert run("artifacts", "rollback", "intents").code == 1
    shown = run("train", "intents")
    assert shown.code == 0
    assert "version 0003" in shown.out
    assert "intents" in run("artifacts", "list").out


def test_evaluation_stands_beside_a_baseline(run: Any, place: Path) -> None:
    found = run("evaluate", "intents", "--json").json["intents"]
    accuracy = found["metrics"]["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert accuracy["value"] > 0.6
    with (place / "questions.csv").open(newline="", encoding="utf-8") as file:
        assert accuracy["n"] == sum(row["split"] == "test" for row in csv.DictReader(file))
    assert found["baseline"]
    assert found["baseline_metrics"]["accuracy"]["n"] == accuracy["n"]
    assert "rows that training never saw" in run("evaluate").out


def test_the_same_seed_makes_the_same_weights(run: Any, place: Path) -> None:
    assert run("train", "--json").code == 0
    root = place / "workspace" / "artifacts" / "intents"
    assert (
        next((root / "0001").rglob("head.safetensors")).read_bytes()
        == next((root / "0002").rglob("head.safetensors")).read_bytes()
    )


def test_ask_in_words_and_in_json(run: Any, place: Path) -> None:
    asked = "I want to activate the card."
    answer = run("ask", "desk", asked, "--json").json[0]
    assert answer["intent"] == "activate_my_card"
    assert answer["action"] in ("reply", "ask")
    assert 0 < answer["confidence"] <= 1
    words = run("ask", "desk", asked).out
    assert "confidence" in words
    assert "activate_my_card" in words
    by_field = run(
        "ask", "desk", "--field", f"text={asked}", "--field", "customer=c7", "-f", "locale=zh", "--json"
    ).json[0]
    assert by_field["locale"] == "zh"
    with mercat.open("mercat.toml") as app, app.store.transaction() as tx:
        from mercat_customer_service.tables import ConversationRow

        assert tx.session.get(ConversationRow, by_field["conversation"]).subject == "c7"


def test_brackets_in_an_answer_are_shown_as_they_are(run: Any, install: Any, tmp_path: Path, monkeypatch: Any) -> None:
    source = """
        from mercat import Answer, Hit, Service, TextRequest, hookimpl
        class Odd(Service[TextRequest, Answer]):
            def answer_many(self, requests):
                hit = Hit("h", 1.0, text="see [bold] and [/nothing]", label="[x]")
                found = Hit("g", 1.0, title="T", text="w " * 40 + "find [/red] cards " + "w " * 80, spans=((85, 91), (92, 97)))
                hits = [hit, found]
                return [Answer("press [enter] or [/red]", 0.5, evidence=hits, reasons=["[because]"]) for _ in requests]
        Odd.answer_many.__annotations__ = {"requests": list[TextRequest], "return": list[Answer]}
        @hookimpl
        def mercat_register(registry):
            registry.services.add("odd", Odd)
    """
    install("odd", source)
    (tmp_path / "mercat.toml").write_text('[services.odd]\nuse = "odd"\n')
    monkeypatch.chdir(tmp_path)
    shown = run("ask", "odd", "x")
    assert shown.code == 0
    for words in ("press [enter] or [/red]", "see [bold] and [/nothing]", "[x]", "[because]"):
        assert words in shown.out
    excerpt = " ".join(shown.out.partition("T\n")[2].split())
    assert excerpt.startswith("… w w"), "what was found stands in the middle of its text"
    assert "w find [/red] cards w" in excerpt
    assert excerpt.endswith("w…")


def test_erasing_a_person(run: Any, place: Path) -> None:
    with (place / "mercat.toml").open("a") as file:
        file.write('\n[sources.letters]\nuse = "files/csv"\npath = "letters.csv"\ncollection = "help"\n')
    (place / "letters.csv").write_text("id,text,subject\nl1,Zebra crossing trouble,ana\nl2,Zebra crossing again,bob\n")
    assert run("ingest", "letters", "--json").json["letters"]["stored"] == 2
    assert run("ask", "desk", "I want a person, about my zebra", "-f", "customer=ana").code == 0
    counts = run("erase", "ana", "--yes", "--json").json
    assert counts["documents"] == 1
    assert counts["customer_service_conversations"] == 1
    with mercat.open("mercat.toml") as app:
        found = [hit.id for hit in app.get("retrievers", "help").search("zebra crossing", k=20)]
        assert "l2" in found
        assert "l1" not in found
        assert app.store.was_erased("ana")
    assert b"Zebra crossing trouble" not in b"".join(
        path.read_bytes() for path in (place / "workspace").glob("mercat.db*")
    )
    again = run("ingest", "letters", "--json")
    assert again.code == 0
    assert run("erase", "ana", "--yes").code == 0


def test_old_rows_expire_from_the_store_and_from_search(run: Any, place: Path) -> None:
    with (place / "mercat.toml").open("a") as file:
        file.write('\n[sources.letters]\nuse = "files/csv"\npath = "letters.csv"\ncollection = "help"\n')
    (place / "letters.csv").write_text(
        "id,text,published_at\nl1,Zebra trouble,2001-01-01T00:00:00Z\nl2,Zebra again,2100-01-01T00:00:00Z\n"
    )
    assert run("ingest", "letters", "--json").json["letters"]["stored"] == 2
    assert run("ask", "desk", "I want a person, about my zebra", "-f", "customer=ana").code == 0
    assert run("expire", "help", "--days", "3650", "--yes", "--json").json == {"documents of help": 1}
    with mercat.open("mercat.toml") as app:
        found = [hit.id for hit in app.get("retrievers", "help").search("zebra", k=20)]
        assert "l2" in found
        assert "l1" not in found
    talks = ["customer_service_turns", "customer_service_conversations"]
    assert run("expire", *talks, "--days", "1", "--yes", "--json").json == {}, "they are of today"
    assert run("expire", *talks, "--days", "0", "--yes", "--json").json == {talks[0]: 2, talks[1]: 1}


def test_erase_asks_first(run: Any, place: Path, monkeypatch: Any) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run("erase", "ana").code == 1
    with mercat.open("mercat.toml") as app:
        assert not app.store.was_erased("ana")


def test_a_killed_ingest_goes_on_and_ends_like_one_that_was_not(fresh: Path, learned: Path, tmp_path: Path) -> None:
    """Small batches, killed with SIGKILL again and again: in the end the rows are those of one quiet run."""
    config = fresh / "mercat.toml"
    config.write_text(
        config.read_text().replace('path = "questions.csv"\n', 'path = "questions.csv"\nbatch_rows = 4\n')
    )
    command = [sys.executable, "-m", "mercat.cli.app", "ingest", "questions", "--no-index", "--json"]
    kills = 0
    for more in (20, 100):
        process = subprocess.Popen(command, cwd=fresh, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        floor = count(config, "examples", "intents") + more
        while process.poll() is None and count(config, "examples", "intents") < floor:
            time.sleep(0.02)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills, "nothing was killed: the run was too quick"
    done = subprocess.run(command, cwd=fresh, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    quiet = Path(shutil.copytree(learned, tmp_path / "quiet"))
    with mercat.open(config) as app, mercat.open(quiet / "mercat.toml") as other:
        assert list(app.store.rows("examples", "intents")) == list(other.store.rows("examples", "intents"))
        assert app.store.last_sequence("examples", "intents") == app.store.count("examples", "intents"), "a row twice"
