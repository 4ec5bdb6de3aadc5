"""The walls between rooms: who may import whom and which library, five equal versions, and no way to run a file."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = (
    "core",
    "connectors",
    "plugins/customer_service",
    "plugins/financial_sentiment",
    "plugins/recommendation",
)
SOURCES = [path for folder in DISTRIBUTIONS for path in (ROOT / folder).rglob("*.py")]
UNPICKLING = {"pickle", "cPickle", "_pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve"}
RUNNING = {"torch.load", "torch.save"}
SWITCHES = {"allow_pickle", "trust_remote_code", "weights_only"}


def test_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 broken" in run.stdout


CONTRACTS = {
    contract["name"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
}
PACKAGES = {
    "mercat",
    "mercat_connectors",
    "mercat_customer_service",
    "mercat_financial_sentiment",
    "mercat_recommendation",
}
CONNECTORS_SEE = {"values", "errors", "hooks", "registry", "text", "connect", "web"}
ABOVE_AUDIT = ("cli | testing", "serve", "jobs | backups", "workspace", "flow")


def rooms() -> set[str]:
    """Return the rooms of the core as they lie in its folder."""
    core = ROOT / "core" / "mercat"
    folders = {path.parent.name for path in core.glob("*/__init__.py")}
    return folders | {path.stem for path in core.glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("name", [name for name in CONTRACTS if "rented" in name])
def test_a_rented_library_is_closed_to_every_module_but_its_tenants(name: str) -> None:
    contract = CONTRACTS[name]
    assert set(contract["source_modules"]) == PACKAGES
    tenants = {pair.split(" -> ")[0] for pair in contract["ignore_imports"]}
    assert not tenants & {f"{package}{tail}" for package in PACKAGES for tail in ("", ".*", ".**")}


def test_each_of_the_rented_libraries_has_its_contract() -> None:
    closed = {library for name, each in CONTRACTS.items() if "rented" in name for library in each["forbidden_modules"]}
    assert closed >= {"httpx", "sqlmodel", "sqlalchemy", "alembic", "fastapi", "starlette", "faiss", "pluggy", "ray"}
    assert closed >= {"onnx", "onnxruntime", "openvino"}
    assert closed >= {"psycopg", "qdrant_client", "pymilvus", "milvus_lite"}


def test_every_room_is_either_open_or_closed_to_connectors() -> None:
    contract = CONTRACTS["Connectors see values, errors, hooks, registry, text, connect and web"]
    closed = {name.removeprefix("mercat.") for name in contract["forbidden_modules"]}
    assert closed == rooms() - CONNECTORS_SEE


def test_every_room_above_audit_is_closed_to_plugins() -> None:
    contract = CONTRACTS["Plugins know neither each other nor the rooms above audit"]
    layers = CONTRACTS["Rooms import downwards only"]["layers"]
    assert tuple(layers[: layers.index("audit")]) == ABOVE_AUDIT
    above = {f"mercat.{room}" for layer in ABOVE_AUDIT for room in layer.split(" | ")}
    assert set(contract["forbidden_modules"]) == above | {"mercat_connectors"}


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


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted(node: ast.AST) -> str:
    """`torch.load` of the expression `torch.load`; the last names of anything more complicated."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


def unsafe(tree: ast.AST) -> Iterator[str]:
    """What could run code out of a file: its imports, its calls, the arguments that switch it on."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in UNPICKLING)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module.partition(".")[0] in UNPICKLING:
                yield module
            yield from (f"{module}.{alias.name}" for alias in node.names if f"{module}.{alias.name}" in RUNNING)
        elif isinstance(node, ast.Attribute):
            name = dotted(node)
            if name in RUNNING or name.endswith(".read_pickle") or name.endswith(".to_pickle"):
                yield name
        elif isinstance(node, ast.Call):
            yield from (switch for switch in map(switched_on, node.keywords) if switch)
            if dotted(node.func) in ("__import__", "importlib.import_module", "import_module") and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and str(first.value).partition(".")[0] in UNPICKLING:
                    yield str(first.value)


def switched_on(keyword: ast.keyword) -> str:
    """`allow_pickle=x` is refused for every x but a literal False; `weights_only` for every x but True."""
    if keyword.arg not in SWITCHES:
        return ""
    safe = keyword.arg == "weights_only"
    is_safe = isinstance(keyword.value, ast.Constant) and keyword.value.value is safe
    return "" if is_safe else keyword.arg


def test_no_pickle_is_written_or_read() -> None:
    found = [f"{path.relative_to(ROOT)}: {deed}" for path in SOURCES for deed in unsafe(tree_of(path))]
    assert not found


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "import joblib as j",
        "from dill import loads",
        "def f():\n    import cloudpickle.compat",
        "from marshal import loads",
        "import torch\ntorch.load(path)",
        "from torch import load",
        "read = torch.load",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "pandas.read_pickle(path)",
        "frame.to_pickle(path)",
        "importlib.import_module('pickle')",
        "__import__('joblib.numpy_pickle')",
    ],
)
def test_the_check_itself_finds_each_way(code: str) -> None:
    assert list(unsafe(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "'pickle.loads'  # pickle.",
        "x = 'torch.load('",
        "f(trust_remote_code=False)",
        "self.marshal = 1",
        "np.load(p, allow_pickle=False)",
    ],
)
def test_the_check_itself_knows_words_from_deeds(code: str) -> None:
    assert not list(unsafe(ast.parse(code)))


def test_no_source_says_todo() -> None:
    words = ("TODO", "FIXME", "XXX")
    found = [(path.name, word) for path in SOURCES for word in words if word in path.read_text(encoding="utf-8")]
    assert not found


def test_nothing_is_left_unwritten() -> None:
    """A contract class asks its heir for a `make`; nowhere else may a call end in NotImplementedError."""
    testing = ROOT / "core" / "mercat" / "testing"
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        if not path.is_relative_to(testing)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Raise) and "NotImplementedError" in ast.dump(node)
    ]
    assert not found
