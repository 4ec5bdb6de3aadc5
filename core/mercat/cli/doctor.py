"""`mercat doctor`: what is or will be in the way here, and the cure. Works whatever is broken."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mercat.cli.common import DEFAULT_CONFIG, ConfigOption, JsonOption, SetOption, command_app, emit, say
from mercat.errors import MercatError
from mercat.values import Finding

if TYPE_CHECKING:
    from mercat.workspace import Workspace

# Kinds of parts that wait for an artifact.
_TRAINED = ("classifiers", "taggers", "matchers", "rerankers", "labellers", "regressors")
app = command_app()
FLOORS = {"transformers": (5, 20), "torch": (2, 13), "starlette": (1, 10), "cryptography": (50,), "jinja2": (3, 1, 6)}
"""Versions below which a known security fix is missing."""


@app.command()
def doctor(config: ConfigOption = DEFAULT_CONFIG, set_: SetOption = None, json: JsonOption = False) -> None:
    """Check packages, plugins, every section of the config, artifacts, the store and the devices."""
    findings = [*_packages(), *_workspace(config, set_ or [])]
    if json:
        emit(findings, as_json=True)
    else:
        emit(findings, as_json=False, columns=("level", "subject", "problem", "cure"), title="Findings")
        if not any(finding.level == "error" for finding in findings):
            say("[green]Nothing is in the way.[/green]")
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


def _packages() -> Iterator[Finding]:
    present = {name: found for name in ("faiss-cpu", "faiss-gpu", *FLOORS) if (found := _version(name))}
    if {"faiss-cpu", "faiss-gpu"} <= set(present):
        cure = "pip uninstall -y faiss-cpu faiss-gpu, then install one of them"
        yield Finding("error", "faiss", "faiss-cpu and faiss-gpu are both installed; they share a folder", cure)
    for name, floor in FLOORS.items():
        if name in present and _numbers(present[name]) < floor:
            wanted = ".".join(str(number) for number in floor)
            problem = f"{name} {present[name]} lacks known security fixes"
            yield Finding("error", name, problem, f'pip install "{name}>={wanted}"')
    if not present.keys() & {"faiss-cpu", "faiss-gpu"}:
        cure = 'pip install "mercat[cpu]"'
        yield Finding("warning", "faiss", "FAISS is not installed: indexes are exact, which suits small data", cure)


def _workspace(path: Path, overrides: list[str]) -> Iterator[Finding]:
    from mercat.workspace import Workspace

    try:
        workspace = Workspace.open(path, overrides=overrides)
    except MercatError as error:
        level = "error" if path.is_file() else "warning"
        yield Finding(level, str(path), f"{error.asked}. {error.found}", error.next)
        return
    with workspace:
        for row in workspace.plugins.rows():
            if row.state == "off":
                yield Finding("error", f"plugin {row.name}", row.cause, row.cure or "mercat plugins", row.name)
        yield from _sections(workspace)
        yield from _artifacts(workspace)
        yield from _store(workspace)
        yield from _devices()
        yield from workspace.plugins.doctor(workspace)


def _sections(workspace: Workspace) -> Iterator[Finding]:
    for kind in workspace.config.kinds():
        for name in workspace.config.sections(kind) if kind in workspace.registry.kinds() else ():
            try:
                workspace.check(kind, name)
            except MercatError as error:
                yield Finding("error", f"[{kind}.{name}]", f"{error.asked}. {error.found}", error.next)
        if kind not in workspace.registry.kinds():
            yield Finding("error", f"[{kind}.…]", "No kind of part has this name", "mercat plugins")
    trained = [(kind, each) for kind in _TRAINED for each in workspace.config.sections(kind).items()]
    for kind, (name, section) in trained:
        artifact = str(section.parameters.get("artifact", ""))
        if artifact and artifact not in workspace.artifacts.names():
            problem = f"The artifact '{artifact}' has not been trained yet"
            yield Finding("warning", f"[{kind}.{name}]", problem, f"mercat train {artifact}")


def _artifacts(workspace: Workspace) -> Iterator[Finding]:
    """Check every file of every version: an old one that is broken is none to go back to."""
    artifacts = workspace.artifacts
    for name in artifacts.names():
        current = artifacts.current(name)
        for number in dict.fromkeys([*artifacts.versions(name), current]):
            try:
                artifacts.open(name, number)
            except MercatError as error:
                told = f"{error.asked}. {error.found}"
                if number == current:
                    yield Finding("error", f"artifact {name}", told, error.next)
                else:
                    cure = f"a backup of {artifacts.root / name / number}, or remove that folder"
                    yield Finding("warning", f"artifact {name} {number}", told, cure)


def _store(workspace: Workspace) -> Iterator[Finding]:
    try:
        if workspace.store.is_new():
            yield Finding("ok", "store", f"{workspace.store.url} is set up on first use")
        elif behind := workspace.store.behind():
            yield Finding("error", "store", f"Its tables are behind the code: {', '.join(behind)}", "mercat db upgrade")
        else:
            yield Finding("ok", "store", f"{workspace.store.url} is up to date")
    except MercatError as error:
        yield Finding("error", "store", f"{error.asked}. {error.found}", error.next)


def _devices() -> Iterator[Finding]:
    from mercat.compute.device import choose_device

    try:
        device = choose_device()
        yield Finding("ok", "device", f"{device.name}, {device.dtype}: {device.why}")
    except ImportError:
        yield Finding("ok", "device", "cpu: torch is not installed, encoders without it run")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.partition("+")[0].split(".") if part.isdigit())
