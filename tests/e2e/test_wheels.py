"""What is shipped: the five wheels hold everything they need and nothing else, and work where there is no checkout."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from email.parser import Parser
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "mercat": "core",
    "mercat_connectors": "connectors",
    "mercat_customer_service": "plugins/customer_service",
    "mercat_financial_sentiment": "plugins/financial_sentiment",
    "mercat_recommendation": "plugins/recommendation",
}
NEEDED = {
    "mercat": [
        "mercat/py.typed",
        "mercat/web/templates/base.html",
        "mercat/web/messages/en.json",
        "mercat/web/messages/zh.json",
        "mercat/serve/templates/sign_in.html",
        "mercat/serve/messages/zh.json",
        "mercat/store/migrations/__init__.py",
        "mercat/store/migrations/v0001_first_tables.py",
        "mercat/cli/plugin_template/pyproject.toml.txt",
        "mercat/testing/plugins.py",
    ],
    "mercat_connectors": ["mercat_connectors/py.typed"],
    "mercat_customer_service": [
        "mercat_customer_service/py.typed",
        "mercat_customer_service/example.toml",
        "mercat_customer_service/demo/questions.csv",
        "mercat_customer_service/demo/replies.toml",
        "mercat_customer_service/migrations/v0001_conversations.py",
    ],
    "mercat_financial_sentiment": [
        "mercat_financial_sentiment/py.typed",
        "mercat_financial_sentiment/example.toml",
        "mercat_financial_sentiment/demo/sentences.csv",
        "mercat_financial_sentiment/migrations/v0001_mentions_and_alerts.py",
    ],
    "mercat_recommendation": ["mercat_recommendation/py.typed"],
}
DATA = {
    ".csv",
    ".gz",
    ".tsv",
    ".jsonl",
    ".parquet",
    ".npy",
    ".npz",
    ".safetensors",
    ".db",
    ".bin",
    ".pt",
    ".onnx",
    ".faiss",
    ".pkl",
}
pytestmark = pytest.mark.timeout(300)


def declared_by(folder: Path) -> set[str]:
    """Return the distributions that a project and its extras name."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    needs = [*project["dependencies"], *chain(*project.get("optional-dependencies", {}).values())]
    return {plain(re.split(r"[^A-Za-z0-9._-]", need, maxsplit=1)[0]) for need in needs}


def imported_by(folder: Path) -> set[str]:
    """Return the first part of every absolute import, late ones and those for types alone included."""
    nodes = [node for path in folder.rglob("*.py") for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in named}


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wheel_of(installed: Any, package: str) -> ZipFile:
    (path,) = installed.wheels.glob(f"{package}-0*.whl")
    assert path.stat().st_size < 3_000_000
    return ZipFile(path)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wheel_holds_what_is_in_the_package_and_nothing_else(installed: Any, package: str) -> None:
    with wheel_of(installed, package) as wheel:
        inside = {name for name in wheel.namelist() if not name.partition("/")[0].endswith(".dist-info")}
    folder = ROOT / PACKAGES[package]
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", package]
    found = subprocess.run(listed, cwd=folder, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("this is no checkout of git")
    there = {name for name in found.stdout.splitlines() if (folder / name).is_file()}
    assert inside == there


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wheel_holds_what_is_needed_and_no_data_but_the_demo(installed: Any, package: str) -> None:
    with wheel_of(installed, package) as wheel:
        inside = wheel.namelist()
    assert set(NEEDED[package]) <= set(inside)
    stray = [name for name in inside if Path(name).suffix in DATA and "/demo/" not in name]
    assert not stray
    unwanted = [name for name in inside if "__pycache__" in name or name.endswith((".pyc", ".log", ".tmp"))]
    assert not unwanted


@pytest.mark.parametrize("package", PACKAGES)
def test_the_metadata_are_those_of_the_project(installed: Any, package: str) -> None:
    with wheel_of(installed, package) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(wheel.read(name).decode())
        (points,) = (name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt"))
        entries = wheel.read(points).decode()
    assert metadata["Name"] == package.replace("_", "-")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Summary"]
    needs = metadata.get_all("Requires-Dist") or []
    if package == "mercat":
        assert "mercat = mercat.cli.app:main" in entries
        assert not [
            need for need in needs if need.startswith(("torch", "transformers", "faiss")) and "extra ==" not in need
        ]
    else:
        assert [need for need in needs if need.startswith("mercat<") or need.startswith("mercat>")]
        assert "[mercat]" in entries


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wheel_carries_the_licence(installed: Any, package: str) -> None:
    with wheel_of(installed, package) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/licenses/LICENSE"))
        assert wheel.read(name) == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_imported_is_declared(package: str) -> None:
    """By the distribution itself or, for plugins and connectors, by the core: never only by what another one needs."""
    folder = ROOT / PACKAGES[package]
    declared = declared_by(folder) | declared_by(ROOT / "core") | {"mercat"}
    providers = packages_distributions()
    undeclared = {
        name
        for name in imported_by(folder / package) - set(sys.stdlib_module_names) - {package}
        if not declared & {plain(each) for each in (*providers.get(name, ()), name)}
    }
    assert not undeclared


def test_imports_come_from_the_wheels(installed: Any, tmp_path: Path) -> None:
    code = f"import json; print(json.dumps({{n: __import__(n).__file__ for n in {list(PACKAGES)!r}}}))"
    files = json.loads(installed.run("python", "-c", code, cwd=tmp_path))
    for package, file in files.items():
        assert Path(file).is_relative_to(installed.folder), f"{package} comes from {file}"
    path = json.loads(installed.run("python", "-c", "import json, sys; print(json.dumps(sys.path))", cwd=tmp_path))
    assert not [each for each in path if each and Path(each).is_relative_to(ROOT) and "site-packages" not in each]


def test_help_and_plugins_work_from_there(installed: Any, tmp_path: Path) -> None:
    assert "mercat COMMAND --help" in installed.run("mercat", "--help", cwd=tmp_path)
    rows = {row["name"]: row for row in json.loads(installed.run("mercat", "plugins", "--json", cwd=tmp_path))}
    assert {"customer-service", "financial-sentiment", "recommendation", "files", "feeds", "helpdesk"} <= set(rows)
    assert rows["files"]["distribution"] == "mercat-connectors"


def test_the_main_job_runs_from_there(installed: Any, tmp_path: Path) -> None:
    """From `init` to an answer and a page, with an encoder that needs no weights."""
    installed.run("mercat", "init", "shop", "--plugin", "customer-service", cwd=tmp_path)
    shop = tmp_path / "shop"
    text = (shop / "mercat.toml").read_text()
    text = text.replace('use = "transformer"\nmodel = "all-MiniLM-L6-v2"', 'use = "hashing"').replace(
        '"universal"', '"hashing"'
    )
    (shop / "mercat.toml").write_text(text)
    installed.run("python", "-c", COPY, cwd=shop)
    accounts = json.loads(installed.run("mercat", "ingest", "--json", cwd=shop))
    assert accounts["questions"]["stored"] > 1000
    (artifact,) = json.loads(installed.run("mercat", "train", "--json", cwd=shop))
    assert artifact["name"] == "intents"
    asked = ["mercat", "ask", "desk", "I want to activate the card.", "--json"]
    (answer,) = json.loads(installed.run(*asked, cwd=shop))
    assert answer["intent"] == "activate_my_card"
    assert installed.run("python", "-c", PAGES, cwd=shop).splitlines()[-1] == "200 200 text/css"
    installed.run("mercat", "new", "my-own", cwd=shop)
    assert (shop / "mercat-my-own" / "pyproject.toml").is_file()


COPY = """
import shutil, mercat_customer_service
from pathlib import Path
demo = Path(mercat_customer_service.__file__).parent / "demo"
for name in ("questions.csv", "articles.csv", "replies.toml"):
    shutil.copy(demo / name, ".")
"""
PAGES = """
import io, re, mercat
from fastapi.testclient import TestClient
from mercat.serve import create_app
from mercat.serve.middleware import json_log
app = create_app(lambda: mercat.open("mercat.toml"), preload=True, log=json_log(io.StringIO()))
with TestClient(app, base_url="http://localhost") as client:
    page = client.get("/sign-in")
    style = client.get(re.search(r'href="([^"]+[.]css[^"]*)"', page.text)[1])
    print(page.status_code, style.status_code, style.headers["content-type"].partition(";")[0])
"""
