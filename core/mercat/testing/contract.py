"""What all contract classes share: a test class that forgot a method is an error, not an empty test file."""

from __future__ import annotations

from abc import ABC
from typing import Any


class Contract(ABC):  # noqa: B024  the abstract methods are those of the contracts
    """Base of the contracts. Subclasses named `Test…` must define every abstract method.

    Python would say so only when the class is called, which never happens: pytest leaves abstract classes out without
    a word. So it is said where the class is written. Bases in between, with other names, may stay abstract.

    Raises TypeError, which pytest shows as an error of the test file.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__name__.startswith("Test") and (missing := _missing(cls)):
            contract = next(base.__name__ for base in cls.__mro__ if missing[0] in vars(base))
            wanted = "; ".join(f"{name}(): {(getattr(cls, name).__doc__ or '').strip()}" for name in missing)
            raise TypeError(f"{cls.__name__} inherits {contract} and must define {wanted}")


def _missing(cls: type) -> list[str]:
    """Return the abstract methods of a class that is still being made: ABC has not counted them yet."""
    known = dict.fromkeys(name for base in cls.__mro__ for name in vars(base))
    return [name for name in known if getattr(getattr(cls, name, None), "__isabstractmethod__", False)]
