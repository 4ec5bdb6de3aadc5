"""A broken plugin is a row with its cause, and everything else goes on working."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from mercat.errors import UnknownName
from mercat.plugins import EXTRAS, PluginRow, Plugins, discover
from mercat.registry import Registry
from mercat.values import Answer, Event, Objection, TextRequest

Write = Callable[[str, str], EntryPoint]
Install = Callable[..., Path]
OWN = {"mercat-connectors", "mercat-customer-service", "mercat-financial-sentiment", "mercat-recommendation"}

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
    assert row.cure == "mercat plugins", "a name that may be a typo is nothing to install"


def test_an_own_plugin_that_is_not_installed_has_its_extra_as_the_cure(write: Write) -> None:
    plugins = plugins_of(Registry(), write("good", GOOD))
    plugins.enable(["recommendation", "files"])
    cures = {row.name: row.cure for row in plugins.rows() if row.state == "off"}
    assert cures == {
        "recommendation": 'pip install "mercat[recommendation]"',
        "files": 'pip install "mercat[connectors]"',
    }


def test_every_plugin_of_the_own_distributions_has_an_extra_that_brings_it() -> None:
    own = {name: point.dist.name for name, point in discover().items() if point.dist and point.dist.name in OWN}
    assert {name: f"mercat-{extra}" for name, extra in EXTRAS.items()} == own


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_told_with_its_distribution_and_version(install: Install, name: str) -> None:
    source, cause = BROKEN[name]
    install(name, source, version="2.5")
    install("good", GOOD)
    registry = Registry()
    plugins = Plugins(registry)
    plugins.enable([name, "good"])
    rows = {row.name: row for row in plugins.rows()}
    assert (rows[name].state, rows[name].distribution, rows[name].version) == ("off", f"mercat-{name}", "2.5")
    assert cause in rows[name].cause
    assert rows[name].cure
    assert (rows["good"].state, rows["good"].distribution, rows["good"].version) == ("on", "mercat-good", "1.0")
    assert registry.services.names() == ["good"]


def test_a_name_that_two_distributions_have_is_off_and_names_both(install: Install) -> None:
    install("till", GOOD.replace("good", "till"), distribution="mercat-till", version="1.2")
    install("till", GOOD.replace("good", "till"), distribution="other-till", version="3.0")
    install("good", GOOD)
    registry = Registry()
    plugins = Plugins(registry)
    plugins.enable(["till", "good"])
    rows = {row.name: row for row in plugins.rows()}
    row = rows["till"]
    assert (row.state, row.distribution, row.version) == ("off", "mercat-till, other-till", "1.2, 3.0")
    assert "mercat-till 1.2 and by other-till 3.0" in row.cause
    assert row.cure == "pip uninstall one of mercat-till, other-till"
    assert rows["good"].state == "on"
    assert registry.services.names() == ["good"], "neither is imported: which one is meant nobody can say"
    assert not {"installed_till", "installed_other_till"} & set(sys.modules)
    with pytest.raises(
        UnknownName, match=r"Its plugin 'till' is off: .*mercat-till 1\.2 and by other-till 3\.0"
    ) as lost:
        registry.services.get("till")
    assert str(lost.value).count("Try: ") == 1
    assert lost.value.next == row.cure


def test_a_name_that_two_distributions_have_is_told_when_nobody_uses_it(install: Install) -> None:
    install("till", GOOD, distribution="mercat-till")
    install("till", GOOD, distribution="other-till")
    assert {row.state for row in Plugins(Registry()).rows() if row.name == "till"} == {"off"}


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
