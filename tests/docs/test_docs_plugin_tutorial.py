"""The plugin of docs/plugins.md, put together from its blocks, and each hook as the page describes it."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mercat.hooks import Hooks
from mercat.plugins import Plugins
from mercat.registry import Registry
from mercat.values import Answer, Event, TextRequest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "plugins.md"
MODULE = "plugin_of_the_tutorial"
HOOKS = [name for name in vars(Hooks) if name.startswith("mercat_")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the tutorial's code as a module that can be imported."""
    folder = tmp_path_factory.mktemp("tutorial")
    found = re.findall(r"^```python run\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (folder / f"{MODULE}.py").write_text("\n\n".join(found), encoding="utf-8")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop(MODULE, None)


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def plugins(folder: Path, registry: Registry) -> Plugins:
    plugins = Plugins(registry, installed={"legal-intake": EntryPoint("legal-intake", MODULE, "mercat")})
    plugins.enable(["legal-intake"])
    (row,) = plugins.rows()
    assert row.state == "on", row.cause
    return plugins


def test_mercat_register(plugins: Plugins, registry: Registry) -> None:
    assert registry.services.names() == ["legal-intake"]
    assert registry.services.get("legal-intake").provider.name == "legal-intake"


def test_mercat_review(plugins: Plugins) -> None:
    def objections(text: str) -> list[str]:
        found = plugins.review(TextRequest(text="letter"), Answer(text, 0.9), by=["legal-intake"])
        return [f"{objection.plugin}: {objection.reason}" for objection in found]

    assert objections("We guarantee that you win.") == ["legal-intake: promises a guarantee"]
    assert objections("You may win.") == []


def test_mercat_observe(plugins: Plugins, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger=MODULE):
        for abstained in (True, False):
            data = {"abstained": abstained, "request": f"request-{abstained}"}
            plugins.observe(Event("answered", datetime(2026, 1, 1, tzinfo=UTC), data))
    assert caplog.messages == ["abstained: request-True"]


def test_mercat_doctor(plugins: Plugins) -> None:
    def findings(sinks: dict[str, Any]) -> list[str]:
        opened: Any = SimpleNamespace(config=SimpleNamespace(sections=lambda kind: sinks))
        return [finding.plugin for finding in plugins.doctor(opened)]

    assert findings({}) == ["legal-intake"]
    assert findings({"helpdesk": object()}) == []


def test_the_tables_of_the_tutorial_are_registered(plugins: Plugins, registry: Registry) -> None:
    sys.modules[MODULE].register_tables(registry)
    assert [tables.name for tables in registry.tables.sets] == ["legal_intake"]


def test_the_routes_of_the_tutorial_say_who_may_use_them(plugins: Plugins) -> None:
    from mercat.serve.mount import requirements

    module = sys.modules[MODULE]
    router = module.pages(module.LegalIntake(module.letters))
    scopes = {route: found and found.scope for route, found in requirements(router.routes)}
    assert scopes == {"GET /": "ask", "GET /settings": "operate"}


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_has_a_heading_a_page_and_a_test(hook: str) -> None:
    assert f"### {hook}\n" in PAGE.read_text(encoding="utf-8")
    assert f"## `{hook}(" in (ROOT / "docs/reference/hooks.md").read_text(encoding="utf-8")
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert re.search(rf"^def test_\w*{hook}\b", tests, re.MULTILINE)
