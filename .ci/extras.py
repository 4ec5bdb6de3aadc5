"""Resolve each extra of mercat alone and all together, and fail when a version is below a security floor.

Alone is `mercat[extra]` and nothing beside it; the other distributions of this repository are taken from here where an
extra asks for them. `cpu` and `gpu` bring the same package in two builds, so all together is once with each of them.
A resolver never complains of a silent downgrade: an extra that caps transformers would bring back a known hole.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = {"transformers": (5, 20), "torch": (2, 13), "starlette": (1, 10), "cryptography": (50,), "jinja2": (3, 1, 6)}
LOCAL = ("core", "connectors", "plugins/customer_service", "plugins/financial_sentiment", "plugins/recommendation")


def main() -> int:
    """Return the number of extras that do not resolve, or resolve below a floor."""
    extras = list(tomllib.loads((ROOT / "core" / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    alone = {extra: [extra] for extra in extras}
    together = {
        f"all but {other}": [extra for extra in extras if extra != other] for other in ("gpu", "cpu") if other in extras
    }
    with tempfile.TemporaryDirectory() as folder:
        ours = Path(folder, "ours.txt")
        ours.write_text("\n".join(f"{_name(each)} @ {(ROOT / each).as_uri()}" for each in LOCAL[1:]))
        return sum(not _resolves(name, chosen, ours) for name, chosen in ({"no extra": []} | alone | together).items())


def _resolves(name: str, extras: list[str], ours: Path) -> bool:
    wanted = f"mercat[{','.join(extras)}] @ {(ROOT / 'core').as_uri()}"
    run = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", "-q", "--no-annotate", "--no-header", "-c", str(ours), "-"],
        input=wanted, capture_output=True, text=True, cwd=ROOT,
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
