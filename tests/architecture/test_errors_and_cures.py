"""Every error says what was asked, what was found and what to type next, and what it says to type exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import typer

from mercat import errors
from mercat.cli.app import COMMANDS

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = ("core", "connectors", "plugins")
SOURCES = sorted(path for folder in DISTRIBUTIONS for path in (ROOT / folder).rglob("*.py"))
ERRORS = {
    name for name, item in vars(errors).items() if isinstance(item, type) and issubclass(item, errors.MercatError)
}
CITED = re.compile(r"mercat ([a-z]+)(?: ([a-z]+))?(.*)")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def incomplete(path: Path) -> Iterator[str]:
    """Errors that are built with fewer than three parts, or with an empty one."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
            parts = [*node.args, *(keyword.value for keyword in node.keywords)]
            if any(isinstance(part, ast.Starred) for part in parts):
                continue
            empty = any(isinstance(part, ast.Constant) and not part.value for part in parts)
            if len(parts) != 3 or empty:
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.func.id}"


def test_errors_have_three_parts() -> None:
    found = [place for path in SOURCES for place in incomplete(path)]
    assert not found, "\n".join(found)


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Every text of a module but its docstrings; what is filled in later stands as …"""
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.lineno, node.value


@cache
def subcommands(command: str) -> tuple[str, ...]:
    app: typer.Typer = import_module(f"mercat.cli.{command}").app
    names = tuple(info.name or info.callback.__name__ for info in app.registered_commands if info.callback)
    return names if len(names) > 1 else ()


def wrong(text: str) -> Iterator[str]:
    for command, sub, rest in CITED.findall(text):
        if command not in COMMANDS:
            continue  # prose such as "mercat is starting"
        known = subcommands(command)
        if known and sub not in known:
            yield f"mercat {command} {sub}{rest}"
        elif known and takes_nothing(command, sub) and re.match(r" […A-Z]", rest):
            yield f"mercat {command} {sub}{rest}: it takes no argument"


def takes_nothing(command: str, sub: str) -> bool:
    app: typer.Typer = import_module(f"mercat.cli.{command}").app
    group = typer.main.get_command(app)
    found = group.commands[sub]  # type: ignore[attr-defined]
    return not [each for each in found.params if each.param_type_name == "argument"]


def test_a_command_that_is_recommended_exists() -> None:
    texts = ((path, line, text) for path in SOURCES for line, text in strings(path))
    found = [f"{path.relative_to(ROOT)}:{line} {cited}" for path, line, text in texts for cited in wrong(text)]
    assert not found, "\n".join(found)


def test_the_check_itself_finds_what_is_wrong() -> None:
    assert list(wrong("Try: mercat db restore BACKUP"))
    assert list(wrong("mercat artifacts list …"))
    assert not list(wrong("mercat db upgrade"))
    assert not list(wrong("mercat index build …"))
