"""What is made of the current version of an artifact: opened on the first question, exchanged when told to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from mercat.artifacts.artifacts import Artifacts
from mercat.artifacts.base import Artifact

T = TypeVar("T")


class Current(Generic[T]):
    """Holds what `load` makes of the current version of the artifact `name`, complete: nobody sees half of two.

    Safe between threads; each calls `get` once for a question, and keeps what it got until the answer is made.
    """

    def __init__(self, artifacts: Artifacts, name: str, *, load: Callable[[Artifact], T]) -> None:
        self.artifacts, self.name, self._load = artifacts, name, load
        self._lock = threading.Lock()
        self._loaded: tuple[str, T] | None = None

    def get(self) -> T:
        """Return what was loaded, loading it first if need be."""
        return self._open()[1]

    @property
    def version(self) -> str:
        """The version of the artifact that answers now."""
        return self._open()[0]

    def reload(self) -> bool:
        """Take over the artifact's current version if it is another one; say whether it was.

        The new version is opened and checked first: when that fails the error is raised and the old one stays.
        """
        current = self.artifacts.current(self.name)
        with self._lock:
            if self._loaded is not None and self._loaded[0] == current:
                return False
            self._loaded = self._opened()
            return True

    def _open(self) -> tuple[str, T]:
        loaded = self._loaded
        if loaded is not None:
            return loaded
        with self._lock:
            if self._loaded is None:
                self._loaded = self._opened()
            return self._loaded

    def _opened(self) -> tuple[str, T]:
        artifact = self.artifacts.open(self.name)
        return artifact.version, self._load(artifact)
