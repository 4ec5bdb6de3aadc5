"""Resolve each extra of mercat alone and all together, and fail when a version is below a security floor.

A resolver never complains of a silent downgrade: an extra that caps transformers would bring back a known hole.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = {"transformers": (5, 20), "torch": (2, 13), "starlette": (1, 10), "cryptography": (50,), "jinja2": (3, 1, 6)}
LOCAL = ("core", "connectors", "plugins/customer_service", "plugins/financial_sentiment", "plugins/recommendation")


def main() -> int:
    """Return the number of extras that do not resolve, or resolve below a floor."""
    extras = list(tomllib.loads((ROOT / "core" / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    together = [extra for extra in extras if extra != "gpu"]
    sets = [[], *([extra] for extra in extras), together]
    return sum(not _resolves(chosen) for chosen in sets)


def _resolves(extras: list[str]) -> bool:
    name = ",".join(extras) or "no extra"
    wanted = f"mercat[{','.join(extras)}] @ {(ROOT / 'core').as_uri()}"
    others = [f"{_name(folder)} @ {(ROOT / folder).as_uri()}" for folder in LOCAL[1:]]
    lines = "\n".join(["torch==2.13.0", wanted, *others] if "gpu" not in extras else [wanted])
    run = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", "-q", "--no-annotate", "--no-header", "-"],
        input=lines, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    if run.returncode:
        print(f"FAIL {name}: {run.stderr.strip().splitlines()[-1:]}")
        return False
    found = dict(re.findall(r"^([A-Za-z0-9._-]+)==([0-9][^\s;]*)", run.stdout, re.MULTILINE))
    low = [
        f"{package} {found[package]}"
        for package, floor in FLOORS.items()
        if package in found and _below(found[package], floor)
    ]
    below = f", below the floor: {', '.join(low)}" if low else ""
    print(f"{'FAIL' if low else 'ok  '} {name}: {len(found)} packages{below}")
    return not low


def _name(folder: str) -> str:
    return str(tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["name"])


def _below(version: str, floor: tuple[int, ...]) -> bool:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[: len(floor)]) < floor


if __name__ == "__main__":
    sys.exit(main())
