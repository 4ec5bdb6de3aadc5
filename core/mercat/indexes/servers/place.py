"""Where the index of a config section lives on a vector server; the common part of the factories."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from mercat.errors import ConfigError
from mercat.indexes.base import IndexInfo
from mercat.indexes.servers.base import Server, TableGone
from mercat.indexes.servers.manifests import read
from mercat.indexes.servers.staged import StagedIndex

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")  # with the end of a table's name it fits all three servers

S = TypeVar("S", bound=Server)


class ServerPlace(ABC, Generic[S]):
    """The index `name` on a server. It connects when it is first opened or asked what is stored, not before."""

    def __init__(self, workspace_folder: Path, section_name: str, name: str) -> None:
        self._folder = workspace_folder / "indexes" / section_name
        self._section = section_name
        self._name = checked_name(name) if name else name_of(section_name)
        self._connecting = Lock()
        self._connected: S | None = None

    @abstractmethod
    def _connect(self) -> S:
        """Return the server. Raises ConnectError."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[None]:
        """Hold the right to bring the index up to date; see `IndexFactory.writing`."""

    @property
    def folder(self) -> Path:
        """Where a local file is; on a server nothing is written here."""
        return self._folder

    def open(self, dimensions: int, fingerprint: str, *, contents: str = "", fresh: bool = False) -> StagedIndex:
        """Open the saved index, or an empty one; see `IndexFactory.open`. ConnectError if the server cannot be had."""
        server = self._server()
        index = StagedIndex(
            server,
            self._name,
            section=self._section,
            dimensions=dimensions,
            fingerprint=fingerprint,
            contents=contents,
        )
        stored = None if fresh else read(server, self._name, self._section)
        if stored is not None:
            try:
                index.load(stored)
            except TableGone:  # another process has just put a new one in its place
                index.follow()
        return index

    def stored(self) -> IndexInfo | None:
        """Say what is saved, by the manifest alone."""
        found = read(self._server(), self._name, self._section)
        return None if found is None else found.info()

    def close(self) -> None:
        """Let go of the server. May be called twice; opened again it connects again."""
        with self._connecting:
            if self._connected is not None:
                self._connected.close()
            self._connected = None

    def _server(self) -> S:
        with self._connecting:
            if self._connected is None:
                self._connected = self._connect()
            return self._connected


def checked_name(name: str) -> str:
    """Return the name of an index on a server; ConfigError for one that a server might refuse or read otherwise."""
    if not _NAME.fullmatch(name):
        found = "A name on a server has at most 40 letters (a to z), digits and _, and begins with no digit"
        raise ConfigError(f'name = "{name}"', found, 'name = "help_articles"')
    return name


def name_of(section: str) -> str:
    """Return the name for a section: itself, where it can be; other sections never have the same."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", section)
    if plain != section or len(section) > 24:
        plain = f"{plain[:24]}_{hashlib.sha256(section.encode()).hexdigest()[:6]}"
    return f"mercat_{plain}"
