"""Every public name says what it is, the shape of the arrays it gives, and the errors it raises; names carry units."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import mercat
from mercat import errors

ROOMS = sorted(path.parent.name for path in Path(mercat.__file__).parent.glob("*/__init__.py"))
PACKAGES = (
    "mercat",
    "mercat_connectors",
    "mercat_customer_service",
    "mercat_financial_sentiment",
    "mercat_recommendation",
)
ERRORS = {name for name, found in vars(errors).items() if inspect.isclass(found) and issubclass(found, Exception)}
ARRAY = re.compile(r"NDArray|ndarray|\bVectors\b|\bMatrix\b")
SHAPE = re.compile(r"\bshape\b|\(n\b|\bas many\b", re.IGNORECASE)
UNITS = re.compile(r"_(s|ms|us|minutes|hours|days|weeks|bytes|kb|mb|gb|chars|tokens|rows|at)$")
MEASURES = re.compile(
    r"(^|_)(timeout|delay|interval|duration|pause|backoff|half_life|max_age|age|window|lifetime|ttl|period"
    r"|elapsed|latency|body_size|file_size)$"
)


@pytest.mark.parametrize("room", ["mercat", *(f"mercat.{room}" for room in ROOMS)])
def test_public_names_have_docstrings(room: str) -> None:
    module = import_module(room)
    assert (module.__doc__ or "").strip(), f"{room} says nothing"
    bare = []
    for name in getattr(module, "__all__", ()):
        found = getattr(module, name)  # a name in __all__ that is not there is an error here
        if inspect.isclass(found) or inspect.isroutine(found):
            text = found.__doc__ or ""
            if not text.strip() or text.startswith(f"{name}("):  # what a dataclass writes by itself
                bare.append(name)
    assert bare == []


@dataclass(frozen=True)
class Public:
    """A function, method or property that users and plugin authors meet."""

    name: str
    function: Callable[..., Any]
    text: str

    @property
    def result(self) -> str:
        return str(getattr(self.function, "__annotations__", {}).get("return", ""))

    def raised(self) -> set[str]:
        """Return the errors of mercat that it raises itself; those of what it calls are theirs to tell."""
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(self.function))).body
        thrown = [node.exc for node in _own(tree) if isinstance(node, ast.Raise) and node.exc is not None]
        names = [exc.func if isinstance(exc, ast.Call) else exc for exc in thrown]
        return {name.id for name in names if isinstance(name, ast.Name)} & ERRORS


def test_public_methods_have_docstrings() -> None:
    assert [each.name for each in PUBLIC if not each.text.strip()] == []


def test_arrays_come_with_their_shapes() -> None:
    arrays = [each for each in EVERY if ARRAY.search(each.result)]
    assert len(arrays) > 50
    assert [each.name for each in arrays if not SHAPE.search(each.text)] == []


def test_errors_that_a_function_raises_are_named() -> None:
    raising = [each for each in EVERY if each.raised()]
    assert len(raising) > 70
    missing = {each.name: each.raised() for each in raising if not all(name in each.text for name in each.raised())}
    assert missing == {}


def test_times_and_sizes_carry_their_unit_in_their_names() -> None:
    wrong = []
    for each in EVERY:
        for name, parameter in inspect.signature(each.function).parameters.items():
            number = re.search(r"\b(int|float)\b", str(parameter.annotation))
            if number and MEASURES.search(name) and not UNITS.search(name):
                wrong.append(f"{each.name}({name})")
    assert wrong == []


def modules() -> Iterator[ModuleType]:
    """Yield every module that is not run as a command or as a migration."""
    for package in PACKAGES:
        root = import_module(package)
        for found in pkgutil.walk_packages(root.__path__, f"{package}."):
            if not re.search(r"\.(migrations|cli|demo)\b|\._|__main__", found.name):
                yield import_module(found.name)


def _public() -> list[Public]:
    """Return the members of what the rooms export, and of every protocol."""
    owners: dict[str, Any] = {}
    for room in ["mercat", *(f"mercat.{room}" for room in ROOMS)]:
        module = import_module(room)
        for name in getattr(module, "__all__", ()):
            found = getattr(module, name)
            if getattr(found, "__module__", "").startswith(PACKAGES):
                owners[f"{found.__module__}.{name}"] = found
    for module in modules():
        for name, found in vars(module).items():
            ours = inspect.isclass(found) and found.__module__ == module.__name__ and not name.startswith("_")
            if ours and getattr(found, "_is_protocol", False):
                owners[f"{module.__name__}.{name}"] = found
    return [each for path, owner in owners.items() for each in _members(path, owner)]


def _own(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function without those of functions inside it."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _own(node)


def _every() -> list[Public]:
    """Return the members of every module whose names begin without an underscore."""
    return [
        member
        for module in modules()
        for name, found in vars(module).items()
        if not name.startswith("_") and getattr(found, "__module__", "") == module.__name__
        for member in _members(f"{module.__name__}.{name}", found)
    ]


def _members(path: str, owner: Any) -> Iterator[Public]:
    if inspect.isfunction(owner):
        yield Public(path, owner, owner.__doc__ or "")
    if not inspect.isclass(owner):
        return
    for name, member in vars(owner).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        test = name.startswith("test_")  # the name of a test is a sentence
        if inspect.isfunction(function) and not name.startswith("_") and not test:
            yield Public(f"{path}.{name}", function, inspect.getdoc(getattr(owner, name)) or "")
    yield from _constructor(path, owner)


def _constructor(path: str, owner: Any) -> Iterator[Public]:
    """Yield what makes an object; the class speaks for it."""
    made = vars(owner).get("__init__")
    if inspect.isfunction(made) and made.__module__ == owner.__module__ and "__dataclass_fields__" not in vars(owner):
        yield Public(path, made, f"{owner.__doc__ or ''} {made.__doc__ or ''}")


PUBLIC, EVERY = _public(), _every()
