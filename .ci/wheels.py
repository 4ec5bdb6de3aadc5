"""Install the five wheels with pip into an empty environment and use them there, without any extra.

What a distribution needs and does not declare is missing here: nothing of the checkout or of `.venv` is in reach.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCAL = ("core", "connectors", "plugins/customer_service", "plugins/financial_sentiment", "plugins/recommendation")
PACKAGES = ("mercat", "mercat_connectors", *(f"mercat_{Path(folder).name}" for folder in LOCAL[2:]))
PLUGINS = {"customer-service", "financial-sentiment", "recommendation", "files", "feeds", "helpdesk"}
# Where an extra may be needed to import a module; everywhere else, and in FREE, none is.
NEED_AN_EXTRA: dict[str, tuple[str, ...]] = {
    "torch": (
        "mercat.training.",
        "mercat.encoders.adapters",
        "mercat.encoders.prefixes",
        "mercat_financial_sentiment.recipe",
    ),
    "sklearn": ("mercat.evaluation.baselines", "mercat.heads.fitting"),
    "faiss": ("mercat.indexes.faiss",),
    "psycopg": ("mercat.indexes.servers.pgvector",),
    "qdrant_client": ("mercat.indexes.servers.qdrant",),
    "pymilvus": ("mercat.indexes.servers.milvus",),
}
FREE = {
    f"mercat.training.{name}"
    for name in (
        *("base", "compare", "data", "progress", "report", "train"),
        *("classifying.evaluate", "classifying.linear"),
    )
}
ENABLE = """
import json, sys
from mercat.parts import register_core
from mercat.plugins import Plugins
from mercat.registry import Registry
registry = Registry()
register_core(registry)
plugins = Plugins(registry)
plugins.enable(sys.argv[1:])
print(json.dumps({row.name: f"{row.state} {row.cause}".strip() for row in plugins.rows()}))
"""
WALK = """
import importlib, json, pkgutil, sys
failed, count = {}, 0
for package in sys.argv[1:]:
    root = importlib.import_module(package)
    # a package that cannot be imported is named here and imported below; what is in it needs what it needs
    for found in pkgutil.walk_packages(root.__path__, package + ".", onerror=lambda name: None):
        if found.name.startswith("mercat.testing."):
            continue
        count += 1
        try:
            importlib.import_module(found.name)
        except Exception as error:
            first = error
            while first.__cause__ is not None:
                first = first.__cause__
            failed[found.name] = getattr(first, "name", None) or f"{type(first).__name__}: {first}"
print(json.dumps([count, failed, importlib.import_module("mercat").__file__]))
"""


def main() -> int:
    """Return 0 if everything works that must work without extras, then with the extra `testing`."""
    with tempfile.TemporaryDirectory() as folder:
        environment, wheels = Path(folder, "env"), Path(folder, "wheels")
        venv.create(environment, with_pip=False)
        for source in LOCAL:
            run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels, cwd=ROOT / source)
        built = sorted(wheels.glob("*.whl"))
        started = time.monotonic()
        install(environment, *built)
        print(f"ok   {len(built)} wheels and what they declare, installed in {time.monotonic() - started:.0f} s")
        wrong = use(environment, Path(folder))
        (core,) = wheels.glob("mercat-0*.whl")
        install(environment, f"mercat[testing] @ {core.as_uri()}")
        run(environment / "bin" / "python", "-c", "from mercat.testing import *", cwd=Path(folder))
        print("ok   mercat[testing]: every contract class imports")
    return wrong


def use(environment: Path, folder: Path) -> int:
    """Run commands and import every module; return how many things are wrong."""
    python, mercat = environment / "bin" / "python", environment / "bin" / "mercat"
    run(python, "-c", "import mercat", cwd=folder)
    run(mercat, "--help", cwd=folder)
    listed = {row["name"]: row["state"] for row in json.loads(run(mercat, "plugins", "--json", cwd=folder))}
    wrong = [f"plugins listed: {listed}"] if listed != dict.fromkeys(PLUGINS, "listed") else []
    enabled = json.loads(run(python, "-c", ENABLE, *sorted(PLUGINS), cwd=folder))
    wrong += [f"plugin {name}: {state}" for name, state in enabled.items() if state != "on"]
    count, failed, file = json.loads(run(python, "-c", WALK, *PACKAGES, cwd=folder))
    wrong += [] if Path(file).is_relative_to(environment) else [f"mercat is imported from {file}"]
    wrong += [
        f"{name}: {why}"
        for name, why in sorted(failed.items())
        if name in FREE or not name.startswith(NEED_AN_EXTRA.get(why, ()))
    ]
    print(*(f"FAIL {line}" for line in wrong), sep="\n", end="\n" if wrong else "")
    fine = count - len(failed)
    print(f"{'FAIL' if wrong else 'ok  '} {len(enabled)} plugins; {fine} of {count} modules without extras")
    return len(wrong)


def install(environment: Path, *what: str | Path) -> None:
    """Install with pip, in the versions that were tested together, and let pip check that nothing is missing."""
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin" / "python")
    constraints = ("-c", ROOT / "constraints.txt")
    run(*pip, "install", "-q", "--no-compile", "--only-binary", ":all:", *constraints, *what, cwd=environment)
    run(*pip, "check", cwd=environment)


def run(*words: str | Path, cwd: Path) -> str:
    """Return what a command prints; end with what it complained about when it fails."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True, env=clean)
    if done.returncode:
        sys.exit(f"FAIL {' '.join(map(str, words))}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
