"""The table of commands: names, exit codes, one line per error, JSON that parses."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from mercat.cli.app import COMMANDS, GROUPS

WITH_SUBCOMMANDS = {"index", "artifacts", "keys", "db"}


def test_help_names_every_command_and_where_it_belongs(run: Any) -> None:
    shown = run("--help")
    assert shown.code == 0
    assert all(f"  {name} " in shown.out and summary in shown.out for name, summary in COMMANDS.items())
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(COMMANDS)
    assert run().out == run("-h").out == run("help").out == shown.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(run: Any, name: str) -> None:
    shown = run(name, "--help")
    assert shown.code == 0
    assert f"Usage: mercat {name}" in shown.out
    assert not shown.err


def test_a_command_that_does_not_exist_is_usage(run: Any) -> None:
    ran = run("tarin")
    assert (ran.code, ran.out) == (2, "")
    assert "Did you mean 'train'?" in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--sede", "3"],
        ["ask"],
        ["train", "--seed", "x"],
        ["index", "biuld"],
        ["ask", "desk", "-f", "nonsense"],
        ["serve", "--port", "99999"],
        ["serve", "--port", "-1"],
    ],
)
def test_wrong_usage_is_two(run: Any, place: Path, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.code == 2, ran
    assert "Usage: mercat" in ran.err


def test_the_version_is_that_of_the_package(run: Any) -> None:
    from mercat import __version__

    assert run("--version").out == f"mercat {__version__}\n"


ERRORS = {
    "no configuration": (["config", "--config", "absent.toml"], "mercat init"),
    "a configuration that is not there, for plugins": (["plugins", "--config", "absent.toml"], "mercat init"),
    "a configuration that is a folder": (["ingest", "--config", "workspace"], "It is a folder"),
    "a folder of the wrong type": (["config", "--set", "mercat.folder=5"], "[mercat] folder = 5"),
    "a confidence above one": (["ask", "desk", "x", "--set", "services.desk.answer=5"], "answer = 5"),
    "a number of questions below none": (["ask", "desk", "x", "--set", "services.desk.questions=-3"], "questions = -3"),
    "a source that is not there": (["ingest", "qestions"], "Did you mean 'questions'?"),
    "a recipe that is not there": (["train", "intent"], "Did you mean 'intents'?"),
    "a routine that is not there": (["train", "--recipe", "liner"], "Did you mean 'linear'?"),
    "a retriever that is not there": (["index", "build", "hlep"], "Did you mean 'help'?"),
    "an index that is not there": (["index", "move", "help", "otter"], "Did you mean 'other'?"),
    "an artifact that is not there": (["artifacts", "promote", "intent", "0001"], "mercat artifacts list"),
    "a version that is not there": (["artifacts", "promote", "intents", "0007"], "Known: 0001"),
    "nothing to go back to": (["artifacts", "rollback", "intents"], "only promoted version"),
    "a service that is not there": (["ask", "dsek", "x"], "Did you mean 'desk'?"),
    "a field that is not there": (["ask", "desk", "x", "-f", "colour=red"], "'colour'"),
    "a field of the wrong type": (["ask", "desk", "-f", "text=5"], "valid string"),
    "an empty text": (["ask", "desk", "  "], "empty"),
    "a key that is not there": (["keys", "revoke", "abcd"], "mercat keys list"),
    "a part that is misspelt": (
        ["ask", "desk", "x", "--set", "services.desk.use=custome-service"],
        "'custome-service'",
    ),
    "an override that cannot be": (["config", "--set", "nothing"], "key.name=value"),
    "an override of a key that is not there": (
        ["index", "build", "--set", "encoders.default.colour=1"],
        "[encoders.default]",
    ),
    "a backup onto itself": (["backup", "workspace"], "It exists already"),
    "a restore of what is none": (["restore", "workspace", "back"], "It is not a backup"),
    "nobody to erase": (["erase", "", "--yes"], "empty"),
    "a collection that is not there": (["expire", "halp", "--days", "1", "--yes"], "Did you mean 'help'?"),
    "a plugin of a bad name": (["new", "Bad Name"], "lower-case words"),
    "a plugin that is not installed": (
        ["init", "x", "--plugin", "customer-servce"],
        "Did you mean 'customer-service'?",
    ),
    "a folder that cannot be made": (["init", "mercat.toml/x"], "mercat.toml"),
    "an address that is none": (["serve", "--port", "1", "--host", "256.1.1.1"], "256.1.1.1"),
    "a strength below zero": (["train", "--set", "recipes.intents.strength=-1"], "strength = -1"),
    "an error above one": (["train", "--set", "recipes.intents.target_error=7"], "target_error = 7"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_one_line_with_its_cure(run: Any, place: Path, name: str) -> None:
    arguments, words = ERRORS[name]
    ran = run(*arguments)
    assert ran.code == 1, ran
    assert words in ran.err
    assert "Try: " in ran.err
    assert ran.err.count("Try: ") == 1
    assert "pip install mercat-" not in ran.err
    assert ran.err.count("\n") == 1
    assert not ran.out


def test_a_failed_init_leaves_nothing_behind(run: Any, place: Path) -> None:
    assert run("init", "elsewhere", "--plugin", "customer-servce").code == 1
    assert not (place / "elsewhere").exists()


JSON = {
    "init": ["init", "elsewhere"],
    "plugins": ["plugins"],
    "config": ["config"],
    "models": ["models"],
    "ingest": ["ingest"],
    "index build": ["index", "build"],
    "index info": ["index", "info"],
    "train": ["train"],
    "update": ["update", "intents"],
    "evaluate": ["evaluate"],
    "audit": ["audit", "intents"],
    "drift": ["drift", "intents"],
    "artifacts list": ["artifacts", "list"],
    "ask": ["ask", "desk", "where do I activate my card?"],
    "keys create": ["keys", "create", "mine"],
    "keys list": ["keys", "list"],
    "db status": ["db", "status"],
    "erase": ["erase", "nobody", "--yes"],
    "expire": ["expire", "help", "--days", "1", "--yes"],
    "demo": ["demo", "--only", "recommendation", "--folder", "shown"],
    "new": ["new", "parcel-desk"],
    "doctor": ["doctor"],
    "index move": ["index", "move", "help", "other"],
    "index swap": ["index", "swap", "help", "small", "--set", "encoders.small.use=hashing"],
    "index back": ["index", "back", "help"],
    "artifacts promote": ["artifacts", "promote", "intents", "0001"],
    "artifacts rollback": ["artifacts", "rollback", "intents"],
    "keys revoke": ["keys", "revoke", "PREFIX"],
    "keys person": ["keys", "person", "ana", "--password", "correct horse battery"],
    "db upgrade": ["db", "upgrade"],
    "db drop": ["db", "drop", "customer-service", "--yes"],
    "backup": ["backup", "kept"],
    "restore": ["restore", "kept", "back"],
}
FIRST = {
    "update": ["ingest", "--set", "sources.questions.path=later.csv"],
    "drift": ["ingest", "--set", "sources.questions.path=later.csv"],
    "index move": ["index", "build"],
    "index swap": ["index", "build"],
    "index back": ["index", "move", "help", "other", "--switch"],
    "artifacts rollback": ["train"],
    "keys revoke": ["keys", "create", "old", "--json"],
    "restore": ["backup", "kept"],
}
"""What must have been done before."""
NO_JSON = {"serve", "models export"}
"""A command that does not end by itself, and one that needs a model: see tests/core/encoders/test_export_command.py."""


@pytest.mark.parametrize("name", JSON)
def test_json_is_json_and_nothing_else(run: Any, place: Path, name: str) -> None:
    arguments = JSON[name]
    if name in FIRST:
        before = run(*FIRST[name])
        assert before.code == 0, before
        arguments = [before.json["key"].split("_")[1] if each == "PREFIX" else each for each in arguments]
    ran = run(*arguments, "--json")
    assert ran.code == 0, ran
    assert isinstance(ran.json, (dict, list))


def test_every_command_that_ends_has_a_row_in_the_table_of_json() -> None:
    assert set(paths_of_commands()) - NO_JSON == set(JSON)


def paths_of_commands() -> Iterator[str]:
    for name in COMMANDS:
        command: Any = typer.main.get_command(import_module(f"mercat.cli.{name}").app)
        inner = getattr(command, "commands", {})
        yield from (f"{name} {each}" for each in inner)
        if not inner or command.invoke_without_command:
            yield name


def test_what_json_says_is_what_was_done(run: Any, place: Path) -> None:
    assert run("train").code == 0
    assert run("artifacts", "rollback", "intents", "--json").json == {"name": "intents", "version": "0001"}
    assert run("artifacts", "promote", "intents", "0002", "--json").json == {"name": "intents", "version": "0002"}
    assert run("index", "build").code == 0
    moved = run("index", "move", "help", "other", "--json").json
    assert (moved["retriever"], moved["index"], moved["upserted"] > 0) == ("help", "other", True)
    assert run("index", "move", "help", "other", "--switch", "--json").json["switched"] is True
    assert run("index", "back", "help", "--json").json == {"retriever": "help", "encoder": "default", "index": "help"}
    assert run("ask", "desk", "hello").code == 0
    assert run("db", "upgrade", "--json").json["upgraded"] == []
    dropped = run("db", "drop", "customer-service", "--yes", "--json").json["dropped"]
    assert dropped
    assert all(table.startswith("customer_service_") for table in dropped)
    assert run("db", "upgrade", "--json").json["upgraded"] == ["customer_service"]
    assert run("backup", "kept", "--json").json == {"backup": "kept"}
    assert run("restore", "kept", "back", "--json").json == {"config": str(place / "back" / "mercat.toml")}


def test_the_console_script_and_the_module_are_the_same(place: Path) -> None:
    environment = {**os.environ, "COLUMNS": "200"}
    script = Path(sys.executable).with_name("mercat")
    for start in ([str(script)], [sys.executable, "-m", "mercat.cli.app"]):
        failed = subprocess.run([*start, "ask", "dsek", "x"], capture_output=True, text=True, env=environment)
        assert failed.returncode == 1
        assert "Did you mean 'desk'?" in failed.stderr
        assert failed.stderr.count("\n") == 1


def test_a_pipe_that_is_closed_is_no_error(place: Path) -> None:
    command = f"'{sys.executable}' -m mercat.cli.app config --json | head -c 1"
    run = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert run.stderr == ""


def test_a_command_that_two_distributions_have_is_neither_of_theirs(run: Any, install: Any) -> None:
    for distribution in ("mercat-one", "mercat-two"):
        install(distribution[7:], "app = print", also=f"[mercat.commands]\ngreet = {distribution}\n")
    ran = run("greet")
    assert ran.code == 1
    assert "mercat-one 1.0 and by mercat-two 1.0" in ran.err
    assert "pip uninstall one of mercat-one, mercat-two" in ran.err
    assert ran.err.count("\n") == 1


def test_commands_of_plugins_are_found_and_a_broken_one_is_told(run: Any, install: Any) -> None:
    source = (
        "import typer\napp = typer.Typer()\n@app.command()\ndef greet(name: str = 'you'):\n    print('hello', name)\n"
    )
    also = "[mercat.commands]\ngreet = installed_greeter\nwreck = installed_nothing\n"
    install("greeter", source, also=also)
    shown = run("--help").out
    assert "From plugins:" in shown
    assert "greeter for a test" in shown
    assert run("greet", "--name", "me").out == "hello me\n"
    wrecked = run("wreck")
    assert wrecked.code == 1
    assert "installed_nothing" in wrecked.err
    assert "pip install" in wrecked.err
    assert wrecked.err.count("\n") == 1
