"""Lazy at the seams: the first words of mercat load nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "torch",
    "transformers",
    "faiss",
    "numpy",
    "sqlmodel",
    "sqlalchemy",
    "httpx",
    "psycopg",
    "qdrant_client",
    "pymilvus",
    "fastapi",
    "pydantic",
    "sklearn",
    "jinja2",
)
COMMANDS = {
    "import mercat": "import mercat",
    "mercat --help": "from mercat.cli.app import main; main(['--help'])",
    "mercat plugins": "from mercat.cli.app import main; main(['plugins', '--json'])",
    "mercat init --help": "from mercat.cli.app import main; main(['init', '--help'])",
    "mercat serve --help": "from mercat.cli.app import main; main(['serve', '--help'])",
}
BY_TYPER = """
import sys, typer
bare = typer.Typer()
@bare.command()
def do(flag: bool = False): pass
bare(["--flag"], standalone_mode=False)
alone = set(sys.modules)  # typer reads options with pydantic since 0.29; what it loads by itself is not ours
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_heavy_is_loaded(name: str, tmp_path: Path) -> None:
    code = f"{BY_TYPER if name == 'mercat plugins' else 'alone = ()'}\n{COMMANDS[name]}\nimport sys\n"
    code += f"print('LOADED', [m for m in {HEAVY!r} if m in sys.modules and m not in alone])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip().endswith("LOADED []"), run.stdout


def test_help_with_a_broken_plugin_enabled(tmp_path: Path) -> None:
    (tmp_path / "mercat.toml").write_text('[mercat]\nplugins = ["not-there"]\n')
    for arguments in (["--help"], ["plugins"], ["doctor"], ["init", "--help"]):
        run = subprocess.run(
            [sys.executable, "-m", "mercat.cli.app", *arguments], capture_output=True, text=True, cwd=tmp_path
        )
        assert "Traceback" not in run.stderr, run.stderr
        assert run.returncode in (0, 1)


SIDE_EFFECTS = """
import logging, os, warnings, threading
import numpy  # sets filters of its own
before = (dict(os.environ), list(warnings.filters), logging.root.level, list(logging.root.handlers), threading.active_count())
import mercat
for name in mercat.__all__:
    if name not in {"Workspace", "Store"}:
        getattr(mercat, name)
after = (dict(os.environ), list(warnings.filters), logging.root.level, list(logging.root.handlers), threading.active_count())
for a, b in zip(before, after):
    assert a == b, (a, b)
"""


def test_importing_mercat_sets_nothing(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", SIDE_EFFECTS], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert run.returncode == 0, run.stderr
