"""A broken plugin is a row with its cause, and everything else goes on working."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from mercat.plugins import PluginRow, Plugins, discover
from mercat.registry import Registry
from mercat.values import Answer, Event, Objection, TextRequest

Write = Callable[[str, str], EntryPoint]

GOOD = """
from mercat import hookimpl
@hookimpl
def mercat_register(registry):
    registry.services.add("good", dict)
"""
BROKEN = {
    "raises-at-import": ("raise ValueError('broken on purpose')", "ValueError: broken on purpose"),
    "exits-at-import": ("import sys; sys.exit(3)", "SystemExit"),
    "syntax-error": ("def :", "SyntaxError"),
    "raises-at-register": (
        "from mercat import hookimpl\n@hookimpl\ndef mercat_register(registry):\n    registry.services.add('raises-at-register/x', dict)\n    raise RuntimeError('half-way')",
        "RuntimeError: half-way",
    ),
    "duplicate": (
        "from mercat import hookimpl\n@hookimpl\ndef mercat_register(registry):\n    registry.services.add('duplicate', dict)\n    registry.services.add('duplicate', dict)",
        "has added it already",
    ),
    "steals-a-name": (
        "from mercat import hookimpl\n@hookimpl\ndef mercat_register(registry):\n    registry.services.add('good', dict)",
        "A plugin's names are 'steals-a-name'",
    ),
    "misspelt-hook": ("from mercat import hookimpl\n@hookimpl\ndef mercat_regster(registry): pass", "mercat_regster"),
    "wrong-argument": ("from mercat import hookimpl\n@hookimpl\ndef mercat_register(registery): pass", "registery"),
    "another-api": ("PLUGIN_API = 99", "written for PLUGIN_API 99"),
    "missing-import": ("import a_package_that_nobody_has", "a_package_that_nobody_has"),
}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    monkeypatch.syspath_prepend(tmp_path)
    made: list[str] = []

    def make(name: str, source: str) -> EntryPoint:
        module = "plugin_" + name.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        made.append(module)
        return EntryPoint(name, module, "mercat")

    yield make
    for module in made:
        sys.modules.pop(module, None)


def plugins_of(registry: Registry, *points: EntryPoint) -> Plugins:
    return Plugins(registry, installed={point.name: point for point in points})


def test_a_plugin_is_not_imported_until_it_is_enabled(write: Write) -> None:
    plugins = plugins_of(Registry(), write("good", GOOD))
    assert [row.state for row in plugins.rows()] == ["listed"]
    assert "plugin_good" not in sys.modules
    plugins.enable(["good"])
    assert [row.state for row in plugins.rows()] == ["on"]
    assert "plugin_good" in sys.modules


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_a_row_and_the_others_work(write: Write, name: str) -> None:
    source, cause = BROKEN[name]
    registry = Registry()
    plugins = plugins_of(registry, write(name, source), write("good", GOOD))
    plugins.enable([name, "good"])
    rows = {row.name: row for row in plugins.rows()}
    assert rows[name].state == "off"
    assert cause in rows[name].cause
    assert "\n" not in rows[name].cause
    assert rows["good"].state == "on"
    assert registry.services.names() == ["good"], "a plugin that fails half-way leaves nothing behind"


def test_a_plugin_that_is_not_installed_is_a_row_with_the_cure(write: Write) -> None:
    plugins = plugins_of(Registry(), write("good", GOOD))
    plugins.enable(["goood"])
    row = next(row for row in plugins.rows() if row.name == "goood")
    assert row.state == "off"
    assert "Did you mean 'good'?" in row.cause
    assert "pip install mercat-goood" in row.cause


REVIEWS = """
from mercat import hookimpl, Objection
seen = []
@hookimpl
def mercat_review(request, answer):
    if answer.value == "boom":
        raise RuntimeError("cannot judge")
    return [Objection("no promises")] if answer.value == "promise" else None
@hookimpl
def mercat_observe(event):
    seen.append(event)
@hookimpl
def mercat_doctor(opened):
    raise KeyError("sick")
"""


def test_review_objects_and_fails_closed(write: Write) -> None:
    plugins = plugins_of(Registry(), write("judge", REVIEWS))
    plugins.enable(["judge"])
    ask = TextRequest("?")
    assert plugins.review(ask, Answer("fine", 1.0), by=["judge"]) == []
    assert plugins.review(ask, Answer("promise", 1.0), by=["judge"]) == [Objection("no promises", "judge")]
    (raised,) = plugins.review(ask, Answer("boom", 1.0), by=["judge"])
    assert "cannot judge" in raised.reason
    assert plugins.review(ask, Answer("promise", 1.0), by=[]) == [], "only the plugins that were asked for review"
    (absent,) = plugins.review(ask, Answer("fine", 1.0), by=["nobody"])
    assert "'nobody' is not on" in absent.reason


def test_observe_reaches_every_plugin_even_when_one_raises(write: Write) -> None:
    bad = write("bad", "from mercat import hookimpl\n@hookimpl\ndef mercat_observe(event): raise RuntimeError")
    plugins = plugins_of(Registry(), bad, write("judge", REVIEWS))
    plugins.enable(["bad", "judge"])
    event = Event("answered", datetime(2026, 1, 1, tzinfo=UTC))
    plugins.observe(event)
    assert sys.modules["plugin_judge"].seen == [event]


def test_a_doctor_that_raises_becomes_a_finding(write: Write) -> None:
    plugins = plugins_of(Registry(), write("judge", REVIEWS))
    plugins.enable(["judge"])
    (finding,) = plugins.doctor(None)  # type: ignore[arg-type]
    assert (finding.level, finding.plugin) == ("error", "judge")
    assert "sick" in finding.problem


def test_the_own_plugins_are_found_like_all_others() -> None:
    names = set(discover())
    assert {"customer-service", "financial-sentiment", "recommendation", "files", "feeds", "helpdesk"} <= names


def test_rows_carry_distribution_and_version() -> None:
    rows = {row.name: row for row in Plugins(Registry()).rows()}
    row = rows["recommendation"]
    assert isinstance(row, PluginRow)
    assert (row.distribution, row.version, row.state) == ("mercat-recommendation", "0.1.0", "listed")
