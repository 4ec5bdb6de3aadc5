"""The house stands where the design put its walls."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = ("core", "connectors", "plugins/customer_service", "plugins/financial_sentiment", "plugins/recommendation")
SOURCES = [path for folder in DISTRIBUTIONS for path in (ROOT / folder).rglob("*.py")]


def test_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 broken" in run.stdout


def test_five_versions_are_equal_and_plugins_ask_for_this_core() -> None:
    projects = [tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"] for folder in DISTRIBUTIONS]
    versions = {project["version"] for project in projects}
    assert len(versions) == 1
    (version,) = versions
    from mercat import __version__

    assert __version__ == version
    major, minor = (int(part) for part in version.split(".")[:2])
    for project in projects[1:]:
        assert f"mercat>={major}.{minor},<{major}.{minor + 1}" in project["dependencies"]


@pytest.mark.parametrize(
    "forbidden",
    ["pickle.", "joblib.", "dill.", "cloudpickle.", "torch.load(", "allow_pickle=True", "trust_remote_code=True", "marshal."],
)
def test_no_pickle_is_written_or_read(forbidden: str) -> None:
    found = [path for path in SOURCES if forbidden in path.read_text()]
    assert not found, f"{forbidden} in {found}"


def test_no_source_says_todo() -> None:
    words = ("TODO", "FIXME", "XXX", "NotImplementedError")
    found = [(path.name, word) for path in SOURCES for word in words if word in path.read_text()]
    assert not found
