"""An index in PostgreSQL with the extension pgvector (0.8 or newer). A save is one transaction.

Up to `flat_rows` rows there is no graph and every row is compared; the first save with more builds an HNSW graph.
Rows that a filter allows are compared one by one up to `flat_rows`; above, the graph is walked until `k` allowed rows
are found (pgvector's iterative scan), and where it ends early, every row is compared after all.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import psycopg
from psycopg import sql

from mercat.errors import ArtifactError, ConfigError, ConnectError
from mercat.indexes.servers.base import Graph, TableGone
from mercat.indexes.servers.pgvector_rows import NOTES, Rows, put_note
from mercat.indexes.servers.place import ServerPlace

BACKEND = "pgvector"
_OLDEST = (0, 8)  # the first with iterative scans


class Pgvector(ServerPlace["_Postgres"]):
    """What `use = "pgvector"` in `[indexes.NAME]` builds: a table in the database at `url`.

    `name` is that of the index there, by default "mercat_" and the section's; workspaces that give the same name share
    the index. `m` and `ef_construction` are of the graph, `ef_search` says how many candidates a search keeps,
    `flat_rows` up to how many rows all are compared; `timeout_s` is for connecting. Raises ConfigError for a url of no
    PostgreSQL.
    """

    def __init__(
        self,
        workspace_folder: Path,
        section_name: str,
        *,
        url: str,
        name: str = "",
        m: int = 16,
        ef_construction: int = 64,
        ef_search: int = 64,
        flat_rows: int = 2000,
        timeout_s: float = 10.0,
    ) -> None:
        super().__init__(workspace_folder, section_name, name)
        self._graph = Graph(m, ef_construction, ef_search, flat_rows)
        self._url, self._timeout_s = _checked_url(url), timeout_s

    def _connect(self) -> _Postgres:
        return _Postgres(self._url, self._section, self._graph, timeout_s=self._timeout_s)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold an advisory lock of the database for the block; it ends with the connection, however that ends.

        ArtifactError while another holds it.
        """
        server = self._server()
        with server.apart() as connection:
            query = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
            (had,) = connection.execute(query, [f"mercat writes {self._name}"]).fetchone() or (False,)
            if not had:
                raise ArtifactError(
                    f"Writing the index '{self._section}' on {BACKEND}",
                    "Another process is writing it",
                    "wait until it has ended, then: mercat index build",
                )
            yield


class _Postgres:
    """Connections to one database, each used by one thread at a time."""

    backend = BACKEND
    atomic = True
    longest_id = 2000  # an entry of a B-tree has at most 2,700 bytes

    def __init__(self, url: str, section: str, graph: Graph, *, timeout_s: float) -> None:
        self._url, self._section, self._timeout_s = url, section, timeout_s
        self.graph = graph
        self._idle: list[psycopg.Connection[Any]] = []
        self._lock = Lock()
        weakref.finalize(self, _close_all, self._idle)
        with self.connection() as connection:
            self._need_extension(connection)

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """Lend a connection, in a transaction that is committed at the end of the block."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is not None and connection.broken:
            connection = None
        connection = connection or self._new()
        try:
            with self._said(), connection.transaction():
                yield connection
        finally:
            if connection.broken or connection.closed:
                connection.close()
            else:
                with self._lock:
                    self._idle.append(connection)

    @contextmanager
    def apart(self) -> Iterator[psycopg.Connection[Any]]:
        """Open a connection for the block alone."""
        with self._new() as connection, self._said():
            yield connection

    def note(self, name: str) -> str | None:
        with self.connection() as connection:
            if connection.execute("SELECT to_regclass('mercat_index_notes')").fetchone() == (None,):
                return None
            query = sql.SQL("SELECT text FROM {} WHERE name = %s").format(NOTES)
            found = connection.execute(query, [name]).fetchone()
            return str(found[0]) if found else None

    def set_note(self, name: str, text: str) -> None:
        with self.connection() as connection:
            put_note(connection, name, text)

    def drop_note(self, name: str) -> None:
        with self.connection() as connection:
            connection.execute(sql.SQL("DELETE FROM {} WHERE name = %s").format(NOTES), [name])

    def tables(self) -> list[str]:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        with self.connection() as connection:
            return [str(name) for (name,) in connection.execute(query)]

    def create(self, table: str, dimensions: int) -> Rows:
        query = sql.SQL('CREATE TABLE {} (id text COLLATE "C" PRIMARY KEY, vector vector({}) NOT NULL)')
        with self.connection() as connection:
            connection.execute(query.format(sql.Identifier(table), sql.Literal(dimensions)))
        return self.table(table, dimensions)

    def table(self, table: str, dimensions: int) -> Rows:
        return Rows(self, table, dimensions)

    def drop(self, table: str) -> None:
        with self.connection() as connection:
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(table)))

    def close(self) -> None:
        with self._lock:
            _close_all(self._idle)

    def _new(self) -> psycopg.Connection[Any]:
        try:
            return psycopg.connect(
                self._url, autocommit=True, prepare_threshold=None, connect_timeout=max(2, round(self._timeout_s))
            )
        except psycopg.Error as error:
            raise self._unreachable(error) from error

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except psycopg.errors.UndefinedTable as error:
            raise TableGone(str(error)) from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise self._unreachable(error) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise ConnectError(
                f"The index '{self._section}' on PostgreSQL",
                f"The user of its url may not do this: {_first_line(error)}",
                "grant it CREATE on the schema, or name another user in `url`",
            ) from error

    def _unreachable(self, error: psycopg.Error) -> ConnectError:
        return ConnectError(
            f"The index '{self._section}' on PostgreSQL at {_place(self._url)}",
            _first_line(error),
            f"start the server, or mend `url` in [indexes.{self._section}]",
        )

    def _need_extension(self, connection: psycopg.Connection[Any]) -> None:
        query = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
        found = connection.execute(query).fetchone()
        if found is None:
            try:
                with connection.transaction():
                    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            except psycopg.Error as error:
                raise ConnectError(
                    f"The index '{self._section}' needs the extension 'vector' of PostgreSQL",
                    f"The database has none: {_first_line(error)}",
                    "install pgvector on the server, then as its administrator: CREATE EXTENSION vector",
                ) from error
            found = connection.execute(query).fetchone()
        version = str(found[0]) if found else ""
        if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
            raise ConnectError(
                f"The index '{self._section}' needs pgvector 0.8 or newer",
                f"The database has {version}",
                "install a newer pgvector on the server, then: ALTER EXTENSION vector UPDATE",
            )


def _checked_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres", "postgresql+psycopg") or not rest:
        cure = 'url = { env = "DATABASE_URL" }, with postgresql://user@host/database in it'
        raise ConfigError(
            "An index of use = 'pgvector' takes the url of a PostgreSQL database",
            f"Its scheme is '{scheme}'" if rest else "It has no scheme",
            cure,
        )
    return f"postgresql://{rest}"


def _place(url: str) -> str:
    """Return where the database is, without user and password."""
    try:
        parts = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        return "its url"
    return f"{parts.get('host', 'localhost')}/{parts.get('dbname', '')}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _close_all(connections: list[psycopg.Connection[Any]]) -> None:
    while connections:
        connections.pop().close()
