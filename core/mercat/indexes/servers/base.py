"""What a vector server must be able to do for an index: keep tables of rows, and short notes by name.

A *table* (a collection in the words of Qdrant and Milvus) holds the rows of one state of an index; a *note* is a short
text. The note that has the name of an index is its manifest and says which table counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from mercat.errors import ConfigError, DataError
from mercat.indexes.base import Vectors

Ranked = list[tuple[str, float]]  # ids and inner products for one query, best first
MOST_FLAT = 10_000  # so many rows are compared one by one sooner than a graph is asked


class TableGone(Exception):
    """The table was dropped: another process has put a new one in its place."""


@dataclass(frozen=True, slots=True)
class Graph:
    """The parameters of HNSW (Malkov and Yashunin, 2016), and up to how many rows no graph is asked."""

    m: int = 16  # neighbours that a row keeps
    ef_construction: int = 100  # candidates while it is built
    ef_search: int = 64  # candidates while it is searched
    flat_rows: int = MOST_FLAT

    def __post_init__(self) -> None:
        """Raise ConfigError for numbers that no graph can have."""
        bounds = {"m": (2, 100), "ef_construction": (2 * self.m, 1000), "ef_search": (1, 1000), "flat_rows": (0, None)}
        for name, (least, most) in bounds.items():
            given = getattr(self, name)
            if given < least or (most is not None and given > most):
                allowed = f"at least {least}" if most is None else f"from {least} to {most}"
                raise ConfigError(
                    f"{name} = {given}", f"It is {allowed}", f"{name} = {least if given < least else most}"
                )


class Table(Protocol):
    """The rows of one state of an index. Every method may raise TableGone and ConnectError."""

    @property
    def kind(self) -> str:
        """Return "HNSW16", or "flat" if every row is always compared."""
        ...

    @property
    def device(self) -> str:
        """Return where it is searched: the name of the server, "cpu" if that is this process."""
        ...

    def compares_all(self, candidates: int, *, filtered: bool) -> bool:
        """Say whether a search among so many rows should compare every one."""
        ...

    def present(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that it holds."""
        ...

    def count_of(self, ids: Sequence[str]) -> int:
        """Return how many of `ids`, each there once, it holds."""
        ...

    def nearest(
        self, queries: Vectors, k: int, *, only: Sequence[str] | None, without: Sequence[str], exact: bool
    ) -> list[Ranked]:
        """Return the best `k` of each query among the ids in `only`, if given, and not in `without`.

        `queries` has shape (queries, dimensions).
        """
        ...

    def pages(self, batch: int) -> Iterator[tuple[list[str], Vectors]]:
        """Yield every row once. The vectors have shape (ids of the page, dimensions)."""
        ...

    def count(self) -> int:
        """Return how many rows it holds."""
        ...

    def write(self, ids: Sequence[str], vectors: Vectors, gone: Sequence[str], *, note: tuple[str, str] | None) -> None:
        """Put rows in and take others out, then set `note` (name, text); run again, it changes nothing.

        Where the server knows transactions it is one. When it returns, every search sees it and a power cut keeps it.
        The vectors have shape (ids, dimensions).
        """
        ...


class Server(Protocol):
    """A vector server, or a local file that behaves like one. Every method may raise ConnectError."""

    backend: str
    atomic: bool  # `Table.write` is a transaction
    longest_id: int  # in bytes of UTF-8

    def note(self, name: str) -> str | None:
        """Return the text of a note, None if there is none."""
        ...

    def set_note(self, name: str, text: str) -> None:
        """Write or replace a note, in one step."""
        ...

    def drop_note(self, name: str) -> None:
        """Remove a note; nothing happens if it is not there."""
        ...

    def tables(self) -> list[str]:
        """Return the names of all tables, also those of others."""
        ...

    def create(self, table: str, dimensions: int) -> Table:
        """Make an empty table, durable and visible at once."""
        ...

    def table(self, table: str, dimensions: int) -> Table:
        """Return a table that is there, ready to be searched."""
        ...

    def drop(self, table: str) -> None:
        """Drop a table; nothing happens if it is not there."""
        ...

    def close(self) -> None:
        """Let go of the connections."""
        ...


def without_user(url: str) -> str:
    """Return an address as it may be shown: user and password left out."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else url


def fitting(ids: Sequence[str], most: int, backend: str) -> None:
    """Raise DataError for ids that the server cannot keep: too long, or no UTF-8."""
    for key in ids:
        try:
            size = len(key.encode("utf-8"))
        except UnicodeEncodeError as error:
            found = f"{key!r} holds half of a surrogate pair"
            raise DataError(f"Ids of a {backend} index are UTF-8", found, "ids of whole characters") from error
        if size > most:
            found = f"{key[:40]!r}… has {size}"
            raise DataError(f"Ids of a {backend} index have at most {most} bytes", found, "shorter ids")
        if "\0" in key:
            raise DataError(f"Ids of a {backend} index hold no zero byte", f"{key!r} does", "ids without it")
