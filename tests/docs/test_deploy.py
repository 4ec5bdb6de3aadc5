"""The Dockerfile and the systemd unit: what they copy, install and start is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mercat.cli.app import main

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docs/deploy/Dockerfile").read_text()
UNIT = ROOT / "docs/deploy/mercat.service"


def test_what_the_image_copies_and_installs_is_there() -> None:
    copied = [path for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.M) for path in line.split()]
    assert copied
    assert [path for path in copied if not (ROOT / path).exists()] == []
    installed = re.findall(r"\./([\w/]+)", DOCKERFILE.split("pip install --no-cache-dir -c", 1)[1])
    assert {"core", "connectors"} < set(installed)
    assert [path for path in installed if not (ROOT / path / "pyproject.toml").is_file()] == []


def test_the_extras_of_the_image_exist() -> None:
    (line,) = re.findall(r"^ARG EXTRAS=(.+)$", DOCKERFILE, re.M)
    known = tomllib.loads((ROOT / "core/pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(line.split(",")) <= set(known)


def test_the_commands_of_both_are_those_of_mercat(capsys: pytest.CaptureFixture[str]) -> None:
    (words,) = re.findall(r"^CMD \[(\"serve\".*)\]$", DOCKERFILE, re.M)
    (line,) = re.findall(r"^ExecStart=\S+/mercat (.+)$", UNIT.read_text(), re.M)
    assert main(["serve", "--help"]) == 0
    shown = capsys.readouterr().out
    for command in ([word.strip(' "') for word in words.split(",")], line.split()):
        assert command[0] == "serve"
        assert all(word in shown for word in command if word.startswith("--"))


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text(), flags=re.M))
    ran = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert "mercat.service" not in ran.stderr, ran.stderr
    assert ran.returncode == 0
