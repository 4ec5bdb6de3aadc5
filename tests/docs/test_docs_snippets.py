"""Whatever the documentation shows can be typed: configuration fits the parts, code runs, links lead somewhere."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import pytest

from mercat.config import Config
from mercat.serve.settings import Settings
from mercat.workspace import Workspace

ROOT = Path(__file__).parents[2]
T = TypeVar("T", bound=Callable[..., Any])


def of(*infos: str) -> Callable[[T], T]:
    """Run a test for every block whose fence says one of `infos`."""

    def mark(function: T) -> T:
        function.infos = infos  # type: ignore[attr-defined]
        return function

    return mark


@pytest.fixture
def tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the plugin of the tutorial be found as an installed one is, by its entry point."""
    about = tmp_path / "installed" / "mercat_legal_intake-0.1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mercat-legal-intake\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text("[mercat]\nlegal-intake = mercat_legal_intake\n")
    monkeypatch.syspath_prepend(about.parent)
    monkeypatch.syspath_prepend(ROOT / "examples" / "legal_intake")


@of("toml")
@pytest.mark.usefixtures("tutorial")
def test_configuration_fits_the_parts_that_it_names(block: Any, tmp_path: Path) -> None:
    config = Config(tomllib.loads(block.text), folder=tmp_path)
    with Workspace(config) as workspace:
        assert [row.cause for row in workspace.plugins.rows() if row.state == "off"] == []
        sections = [(kind, name) for kind in config.kinds() for name in config.sections(kind)]
        assert sections
        for kind, name in sections:
            workspace.check(kind, name)
    Settings.read(config.get("mercat.serve", {}))


@of("toml replies")
def test_replies_can_be_read(block: Any, tmp_path: Path) -> None:
    from mercat_customer_service.replies import Replies

    (tmp_path / "replies.toml").write_text(block.text, encoding="utf-8")
    replies = Replies.read(tmp_path / "replies.toml")
    assert all(replies.approved(intent, "en", {}) for intent in replies.intents())


@of("toml topics")
def test_topics_can_be_read(block: Any, tmp_path: Path) -> None:
    from mercat_financial_sentiment.topics import Topics

    (tmp_path / "topics.toml").write_text(block.text, encoding="utf-8")
    topics = Topics.read(tmp_path / "topics.toml")
    assert topics.find("Tidewater Energy 与潮汐能源") == ["tidewater-energy"]


@of("toml pyproject")
def test_the_packaging_shown_is_that_of_the_example(block: Any) -> None:
    real = tomllib.loads((ROOT / "examples/legal_intake/pyproject.toml").read_text(encoding="utf-8"))
    for key, value in tomllib.loads(block.text)["project"].items():
        assert real["project"][key] == value


@of("python", "python run", "python session")
def test_code_is_python(block: Any) -> None:
    compile(block.text, str(block), "exec")


def test_the_plugin_of_the_readme_is_the_example() -> None:
    source = (ROOT / "examples/legal_intake/mercat_legal_intake/__init__.py").read_text(encoding="utf-8")
    assert source in (ROOT / "README.md").read_text(encoding="utf-8")


def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    broken = []
    for target in re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and anchor not in _anchors(found)):
            broken.append(target)
    assert broken == []


def test_generated_pages_are_current() -> None:
    run = subprocess.run([sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_pictures_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    import draw  # type: ignore[import-not-found]

    assert (ROOT / "docs/img/rooms.svg").read_text(encoding="utf-8") == draw.rooms()
    assert (ROOT / "docs/img/streets.svg").read_text(encoding="utf-8") == draw.streets()


def test_the_picture_of_rooms_is_what_the_import_contract_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    import draw

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert [sorted(layer.split(" | ")) for layer in layers] == [sorted(name for name, _ in band) for band in draw.ROOMS]


def test_every_metric_is_listed() -> None:
    from mercat.serve.metrics import Metrics

    families = [metric for metric in Metrics().registry.collect() if not metric.name.endswith("_created")]
    names = {f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in families}
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(mercat_\w+)` \|", page, re.MULTILINE)) == names


def test_every_setting_of_the_server_is_listed_with_its_default() -> None:
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    shown: dict[str, str] = {}
    for keys, defaults in re.findall(r"^\| (`.*`) \| ([^|]+) \|", page.partition("## The server")[2], re.MULTILINE):
        values = [defaults] if defaults.startswith("[") else defaults.split(", ")
        shown |= dict(zip(re.findall(r"`(\w+)`", keys), values, strict=True))
    defaults = {item.name: getattr(Settings(), item.name) for item in dataclasses.fields(Settings)}
    assert shown == {name: "[]" if value == () else str(value) for name, value in defaults.items()}


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
