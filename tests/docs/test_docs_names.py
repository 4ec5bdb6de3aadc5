"""Every public name says what it is."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import pytest

import mercat

ROOMS = sorted(path.parent.name for path in Path(mercat.__file__).parent.glob("*/__init__.py"))


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
