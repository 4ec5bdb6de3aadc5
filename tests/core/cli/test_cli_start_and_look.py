"""init, plugins, doctor, config, models, keys, db: what one does before anything is learned."""

from __future__ import annotations

import io
import json
import sqlite3
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import mercat
from mercat.cli import doctor


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_init_writes_a_config_and_shows_a_key_that_works(run: Any, here: Path) -> None:
    shown = run("init", "shop")
    assert shown.code == 0
    (key,) = (word for word in shown.out.split() if word.startswith("mercat_"))
    assert tomllib.loads((here / "shop" / "mercat.toml").read_text())["mercat"] == {
        "folder": "workspace",
        "plugins": [],
    }
    with mercat.open("shop/mercat.toml") as app:
        assert app.store.is_current()
        found = app.store.accounts.find_key(key)
        assert found is not None
        assert set(found.scopes) == {"ask", "operate", "admin"}
    for path in (here / "shop").rglob("*"):
        assert not path.is_file() or key.encode() not in path.read_bytes(), f"the key stands in {path}"


def test_init_does_not_overwrite(run: Any, here: Path) -> None:
    assert run("init").code == 0
    before = (here / "mercat.toml").read_bytes()
    again = run("init")
    assert again.code == 1
    assert "It is there already" in again.err
    assert (here / "mercat.toml").read_bytes() == before


def test_init_with_plugins_takes_their_example_sections_once(run: Any, here: Path) -> None:
    made = run("init", "--plugin", "customer-service", "--plugin", "financial-sentiment", "--json").json
    data = tomllib.loads(Path(made["config"]).read_text())
    assert data["mercat"]["plugins"] == ["customer-service", "financial-sentiment"]
    assert {"desk"} <= set(data["services"])
    assert len(data["services"]) >= 2
    assert data["encoders"]["default"]["use"] == "transformer"
    findings = run("doctor", "--json").json
    errors = [each for each in findings if each["level"] == "error"]
    assert not [each for each in errors if "does not take" in each["problem"] or "No section" in each["problem"]], (
        errors
    )


def test_every_example_of_an_installed_vertical_is_a_config_without_an_unknown_key(run: Any, here: Path) -> None:
    for plugin in ("customer-service", "financial-sentiment", "recommendation"):
        assert run("init", plugin, "--plugin", plugin).code == 0
        findings = run("doctor", "--config", f"{plugin}/mercat.toml", "--json").json
        assert not [each for each in findings if each["level"] == "error"], findings


def test_plugins_are_listed_with_their_state(run: Any, install: Any, here: Path) -> None:
    install("wreck", "raise ValueError('broken on purpose')")
    (here / "mercat.toml").write_text('[mercat]\nplugins = ["wreck", "files", "not-there"]\n')
    rows = {row["name"]: row for row in run("plugins", "--json").json}
    assert (rows["files"]["state"], rows["feeds"]["state"]) == ("on", "listed")
    assert rows["files"]["distribution"] == "mercat-connectors"
    assert rows["wreck"]["state"] == "off"
    assert "broken on purpose" in rows["wreck"]["cause"]
    assert rows["wreck"]["cure"] == "pip install --upgrade mercat-wreck"
    assert "No installed plugin named 'not-there'" in rows["not-there"]["cause"]
    assert "pip install" not in json.dumps(rows["not-there"]), "a name that may be a typo is nothing to install"
    assert "broken on purpose" in run("plugins").out


def findings_of(run: Any, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    ran = run("doctor", "--json", *arguments)
    return ran.code, {each["subject"]: each for each in ran.json}


def test_doctor_of_a_sound_workspace(run: Any, place: Path) -> None:
    code, findings = findings_of(run)
    assert code == 0, findings
    assert findings["store"]["level"] == "ok"
    assert findings["device"]["level"] == "ok"
    assert "Nothing is in the way" in run("doctor").out


def test_doctor_finds_nothing_wrong_with_a_store_that_is_not_made_yet(run: Any, fresh: Path) -> None:
    code, findings = findings_of(run)
    assert code == 0, findings
    assert findings["store"] | {"level": "ok"} == findings["store"]
    assert "set up on first use" in findings["store"]["problem"]
    assert not (fresh / "workspace" / "mercat.db").exists()


def test_doctor_finds_everything_at_once(run: Any, install: Any, place: Path) -> None:
    install("wreck", "raise ValueError('broken on purpose')")
    config = place / "mercat.toml"
    more = '[services.late]\nuse = "wreck"\n[gadgets.x]\nuse = "y"\n[classifiers.absent]\nuse = "trained"\nartifact = "absent"\n'
    config.write_text(config.read_text().replace("dimensions = 128", "dimensionz = 128") + more)
    code, findings = findings_of(run)
    assert code == 1
    assert "broken on purpose" in findings["plugin wreck"]["problem"]
    assert "'dimensionz'" in findings["[encoders.default]"]["problem"]
    assert "Did you mean 'dimensions'?" in findings["[encoders.default]"]["problem"]
    assert "Its plugin 'wreck' is off" in findings["[services.late]"]["problem"]
    assert findings["[gadgets.…]"]["level"] == "error"
    assert findings["[classifiers.absent]"]["level"] == "warning"
    assert findings["[classifiers.absent]"]["cure"] == "mercat train absent"
    assert all(each["cure"] for each in findings.values() if each["level"] != "ok")
    table = run("doctor").out
    for subject in findings:
        assert subject in table, "brackets are no marks"


def test_doctor_finds_a_broken_artifact(run: Any, place: Path) -> None:
    head = next((place / "workspace" / "artifacts").rglob("head.safetensors"))
    head.write_bytes(head.read_bytes()[:-1])
    code, findings = findings_of(run)
    assert code == 1
    broken = next(each for each in findings.values() if "head.safetensors" in each["problem"])
    assert "mercat train intents" in broken["cure"]


def test_an_old_version_that_is_damaged_is_listed_and_found(run: Any, place: Path) -> None:
    assert run("train").code == 0
    (place / "workspace" / "artifacts" / "intents" / "0001" / "artifact.json").write_text("{")
    old, current = run("artifacts", "list", "--json").json
    assert "artifact.json is damaged" in old["cause"]
    assert (current["version"], current["current"], current["cause"]) == ("0002", True, "")
    assert "artifact.json is damaged" in run("artifacts", "list").out
    code, findings = findings_of(run)
    assert code == 0, "what is served is sound"
    assert findings["artifact intents 0001"]["level"] == "warning"
    assert "artifact.json is damaged" in findings["artifact intents 0001"]["problem"]
    assert "0001" in findings["artifact intents 0001"]["cure"]


def test_doctor_finds_a_store_that_is_behind_and_one_that_is_none(run: Any, place: Path) -> None:
    file = place / "workspace" / "mercat.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("delete from mercat_version")
        database.commit()
    code, findings = findings_of(run)
    assert (code, findings["store"]["cure"]) == (1, "mercat db upgrade")
    file.write_bytes(b"no database, " * 1000)
    code, findings = findings_of(run)
    assert code == 1
    assert "damaged or no database" in findings["store"]["problem"]


def test_doctor_finds_packages_that_do_not_go_together(run: Any, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {
        "faiss-cpu": "1.15.1",
        "faiss-gpu": "1.15.1",
        "torch": "2.5.0+cpu",
        "transformers": "5.23.0",
        "jinja2": "3.1.6",
    }

    def version(name: str) -> str:
        if name not in versions:
            raise doctor.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(doctor, "version", version)
    code, findings = findings_of(run)
    assert code == 1
    assert "share a folder" in findings["faiss"]["problem"]
    assert findings["torch"]["cure"] == 'pip install "torch>=2.13"'
    assert "transformers" not in findings
    assert "jinja2" not in findings
    versions.clear()
    code, findings = findings_of(run)
    assert (code, findings["faiss"]["level"]) == (0, "warning")
    assert findings["faiss"]["cure"] == 'pip install "mercat[cpu]"'
    assert findings["mercat.toml"]["cure"] == "mercat init"


def test_doctor_works_on_a_config_that_is_not_toml(run: Any, here: Path) -> None:
    (here / "mercat.toml").write_text("[oops\n")
    code, findings = findings_of(run)
    assert code == 1
    assert "cannot be read as TOML" in findings["mercat.toml"]["problem"]


def test_doctor_asks_the_plugins(run: Any, install: Any, here: Path) -> None:
    source = """
        from mercat import Finding, hookimpl
        @hookimpl
        def mercat_doctor(opened):
            return [Finding("error", "the till", "it is empty", "fill the till")]
    """
    install("till", source)
    (here / "mercat.toml").write_text('[mercat]\nplugins = ["till"]\n')
    code, findings = findings_of(run)
    assert code == 1
    assert (findings["the till"]["plugin"], findings["the till"]["cure"]) == ("till", "fill the till")


def test_config_shows_origins_and_no_secret(run: Any, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "mercat.toml").write_text('[sinks.desk]\nuse = "x"\npassword = { env = "DESK_PASSWORD" }\nurl = "u"\n')
    monkeypatch.setenv("DESK_PASSWORD", "hunter2")
    rows = {row["key"]: row for row in run("config", "--json", "--set", "sinks.desk.url=https://a.example").json}
    assert rows["sinks.desk.use"] == {"key": "sinks.desk.use", "value": "x", "origin": "mercat.toml"}
    assert (rows["sinks.desk.url"]["value"], rows["sinks.desk.url"]["origin"]) == ("https://a.example", "--set")
    assert rows["sinks.desk.password"]["origin"] == "environment DESK_PASSWORD (set)"
    for ran in (run("config"), run("config", "--json")):
        assert "hunter2" not in ran.out + ran.err
    monkeypatch.delenv("DESK_PASSWORD")
    assert "environment DESK_PASSWORD (not set)" in run("config").out


def test_a_password_in_the_url_of_the_store_is_shown_nowhere(
    run: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE", "postgresql://me:hunter2@127.0.0.1:1/shop")
    (here / "mercat.toml").write_text('[store]\nurl = { env = "STORE" }\n')
    for command in (["config"], ["doctor"], ["db", "status"], ["db", "upgrade"], ["keys", "list"]):
        ran = run(*command)
        assert "hunter2" not in ran.out + ran.err, command


def test_models_say_what_they_are(run: Any, place: Path) -> None:
    (row,) = run("models", "--json").json
    assert (row["name"], row["model"], row["dimensions"], row["device"]) == ("default", "hashing", 128, "cpu")
    assert len(row["fingerprint"]) == 64
    assert run("models", "--load", "--json").json == [row]
    (other,) = run("models", "--json", "--set", "encoders.default.longest=4").json
    assert other["fingerprint"] != row["fingerprint"]
    assert row["fingerprint"] in run("models").out


def test_keys_are_made_listed_and_revoked(run: Any, place: Path) -> None:
    made = run("keys", "create", "till", "--scope", "ask", "--scope", "operate", "--json").json
    assert made["scopes"] == ["ask", "operate"]
    prefix = made["key"].split("_")[1]
    listed = run("keys", "list", "--json")
    assert [(row["prefix"], row["name"], row["revoked_at"]) for row in listed.json["keys"]] == [(prefix, "till", None)]
    assert made["key"] not in listed.out
    with mercat.open("mercat.toml") as app:
        assert app.store.accounts.find_key(made["key"])
    assert run("keys", "revoke", prefix).code == 0
    with mercat.open("mercat.toml") as app:
        assert app.store.accounts.find_key(made["key"]) is None
    assert run("keys", "revoke", prefix).code == 1
    assert run("keys", "create", "x", "--scope", "everything").code == 2


def test_a_person_is_let_in_with_a_long_password_only(run: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MERCAT_PASSWORD", "short")
    refused = run("keys", "person", "ana", "--scope", "admin")
    assert refused.code == 1
    assert "12 characters" in refused.err
    monkeypatch.setenv("MERCAT_PASSWORD", "correct horse battery")
    assert run("keys", "person", "ana", "--scope", "admin").code == 0
    listed = run("keys", "list", "--json")
    assert listed.json["people"] == [{"name": "ana", "scopes": ["admin"], "disabled": False}]
    assert "argon2" not in listed.out
    database = (place / "workspace" / "mercat.db").read_bytes()
    assert b"correct horse battery" not in database


def test_db_status_upgrade_and_drop(run: Any, place: Path) -> None:
    status = run("db", "status", "--json").json
    rows = {(row["kind"], row["collection"]): row["rows"] for row in status["collections"]}
    assert rows[("examples", "intents")] > 200
    assert rows[("documents", "help")] > 10
    assert "source:questions" in status["cursors"]
    assert "Nothing to do" in run("db", "upgrade").out
    assert run("ask", "desk", "hello").code == 0
    dropped = run("db", "drop", "customer-service", "--yes")
    assert "customer_service_" in dropped.out
    behind = run("db", "status")
    assert (behind.code, "mercat db upgrade" in behind.out) == (1, True)
    told = run("db", "status", "--json")
    assert told.code == 1
    assert (told.json["state"], told.json["behind"], told.json["next"]) == (
        "behind",
        ["customer_service"],
        "mercat db upgrade",
    )
    refused = run("ask", "desk", "hello")
    assert refused.code == 1
    assert "mercat db upgrade" in refused.err
    assert "customer_service" in run("db", "upgrade").out
    assert run("ask", "desk", "hello").code == 0
    wrong = run("db", "drop", "customer-servce", "--yes")
    assert wrong.code == 1
    assert "Plugins with tables: customer_service" in wrong.err


def test_db_status_of_a_store_that_is_not_made_yet(run: Any, fresh: Path) -> None:
    file = fresh / "workspace" / "mercat.db"
    said = run("db", "status")
    assert (said.code, said.err) == (0, "")
    assert said.out == f"There is no store yet: sqlite:///{file} is made on first use. Try: mercat db upgrade\n"
    assert run("db", "status", "--json").json == {
        "store": f"sqlite:///{file}",
        "state": "new",
        "collections": [],
        "cursors": {},
    }
    assert not file.exists(), "looking makes nothing"
    assert run("db", "upgrade").out.startswith("Made the store with the tables of: mercat, ")
    assert file.exists()
    assert "is up to date" in run("db", "status").out
    assert run("db", "status", "--json").json["state"] == "current"


def test_db_drop_asks_first(run: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run("db", "drop", "customer_service").code == 1
    assert run("db", "status").code == 0
    assert json.loads(run("db", "status", "--json").out)
