"""The rows of an index in PostgreSQL: one table, and its graph once there are many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import psycopg
from psycopg import sql

from mercat.indexes.base import Vectors
from mercat.indexes.servers.base import Graph, Ranked

NOTES = sql.Identifier("mercat_index_notes")
_MOST_DIMENSIONS = 2000  # of a vector that pgvector can put into a graph
_QUERIES = 64  # in one statement


class Connections(Protocol):
    """A database that lends connections."""

    graph: Graph

    def connection(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        """Lend one, in a transaction that is committed at the end of the block."""
        ...


class Rows:
    """A table of ids and vectors."""

    device = "postgresql"

    def __init__(self, server: Connections, table: str, dimensions: int) -> None:
        self._server, self._dimensions, self._graph = server, dimensions, server.graph
        self._name, self._graph_name = sql.Identifier(table), f"{table}_hnsw"
        self._has_graph = self._look_for_graph()

    @property
    def kind(self) -> str:
        return f"HNSW{self._graph.m}" if self._has_graph else "flat"

    def compares_all(self, candidates: int, *, filtered: bool) -> bool:
        return not self._has_graph or candidates <= self._graph.flat_rows

    def present(self, ids: Sequence[str]) -> set[str]:
        query = sql.SQL("SELECT id FROM {} WHERE id = ANY(%s)").format(self._name)
        with self._server.connection() as connection:
            return {str(key) for (key,) in connection.execute(query, [list(ids)])}

    def count_of(self, ids: Sequence[str]) -> int:
        query = sql.SQL("SELECT count(*) FROM {} WHERE id = ANY(%s)").format(self._name)
        return self._number(query, [list(ids)])

    def count(self) -> int:
        return self._number(sql.SQL("SELECT count(*) FROM {}").format(self._name), [])

    def nearest(
        self, queries: Vectors, k: int, *, only: Sequence[str] | None, without: Sequence[str], exact: bool
    ) -> list[Ranked]:
        """See `Table.nearest`. An exact search orders by an expression that no graph serves.

        `queries` has shape (queries, dimensions).
        """
        found: list[Ranked] = [[] for _ in queries]
        query = _search(self._name, filtered=only is not None, less=bool(without), exact=exact)
        with self._server.connection() as connection:
            if not exact:
                connection.execute(
                    "SELECT set_config('hnsw.ef_search', %s, true), set_config('enable_seqscan', 'off', true),"
                    " set_config('hnsw.iterative_scan', 'strict_order', true)",
                    [str(min(1000, max(self._graph.ef_search, k)))],
                )
            for start in range(0, len(queries), _QUERIES):
                texts = [_text(row) for row in queries[start : start + _QUERIES]]
                asked = {"queries": texts, "k": k, "only": list(only or ()), "without": list(without)}
                for number, key, score in connection.execute(query, asked):
                    found[start + number - 1].append((key, score))
        return [sorted(ranked, key=lambda hit: -hit[1]) for ranked in found]

    def pages(self, batch: int) -> Iterator[tuple[list[str], Vectors]]:
        """Yield every row once, in the order of ids. The vectors have shape (ids of the page, dimensions)."""
        query = sql.SQL("SELECT id, vector::text FROM {} WHERE id > %s ORDER BY id LIMIT %s").format(self._name)
        last = ""
        while True:
            with self._server.connection() as connection:
                rows = connection.execute(query, [last, batch]).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield [key for key, _ in rows], np.stack([_vector(text) for _, text in rows])

    def write(self, ids: Sequence[str], vectors: Vectors, gone: Sequence[str], *, note: tuple[str, str] | None) -> None:
        """Put rows in, take others out and set the note in one transaction; see `Table.write`.

        The vectors have shape (ids, dimensions).
        """
        with self._server.connection() as connection:
            if ids:
                self._put(connection, ids, vectors)
            if gone:
                query = sql.SQL("DELETE FROM {} WHERE id = ANY(%s)").format(self._name)
                connection.execute(query, [list(gone)])
            builds = note is not None and not self._has_graph and self._wants_graph(connection)
            if builds:
                self._build_graph(connection)
            if note is not None:
                put_note(connection, *note)
        self._has_graph = self._has_graph or builds

    def _put(self, connection: psycopg.Connection[Any], ids: Sequence[str], vectors: Vectors) -> None:
        width = sql.Literal(self._dimensions)
        connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE mercat_staged (id text, vector vector({})) ON COMMIT DROP").format(width)
        )
        with connection.cursor().copy("COPY mercat_staged FROM STDIN") as copy:
            for key, vector in zip(ids, vectors, strict=True):
                copy.write_row((key, _text(vector)))
        connection.execute(
            sql.SQL(
                "INSERT INTO {} SELECT id, vector FROM mercat_staged"
                " ON CONFLICT (id) DO UPDATE SET vector = excluded.vector"
            ).format(self._name)
        )

    def _wants_graph(self, connection: psycopg.Connection[Any]) -> bool:
        if self._dimensions > _MOST_DIMENSIONS:
            return False
        query = sql.SQL("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT %s) AS enough").format(self._name)
        (rows,) = connection.execute(query, [self._graph.flat_rows + 1]).fetchone() or (0,)
        return int(rows) > self._graph.flat_rows

    def _build_graph(self, connection: psycopg.Connection[Any]) -> None:
        query = "CREATE INDEX {} ON {} USING hnsw (vector vector_ip_ops) WITH (m = {}, ef_construction = {})"
        m, candidates = sql.Literal(self._graph.m), sql.Literal(self._graph.ef_construction)
        connection.execute(sql.SQL(query).format(sql.Identifier(self._graph_name), self._name, m, candidates))

    def _look_for_graph(self) -> bool:
        return bool(self._number(sql.SQL("SELECT count(*) FROM pg_class WHERE relname = %s"), [self._graph_name]))

    def _number(self, query: sql.SQL | sql.Composed, values: list[Any]) -> int:
        with self._server.connection() as connection:
            (number,) = connection.execute(query, values).fetchone() or (0,)
            return int(number)


def put_note(connection: psycopg.Connection[Any], name: str, text: str) -> None:
    """Set a note, in the transaction of the connection."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('mercat_index_notes', 0))")
    connection.execute(
        sql.SQL("CREATE TABLE IF NOT EXISTS {} (name text PRIMARY KEY, text text NOT NULL)").format(NOTES)
    )
    query = "INSERT INTO {} VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET text = excluded.text"
    connection.execute(sql.SQL(query).format(NOTES), [name, text])


def _search(table: sql.Identifier, *, filtered: bool, less: bool, exact: bool) -> sql.Composed:
    allowed = [*(["id = ANY(%(only)s)"] if filtered else []), *(["id <> ALL(%(without)s)"] if less else [])]
    where = sql.SQL(f"WHERE {' AND '.join(allowed)}" if allowed else "")
    order = sql.SQL("score DESC" if exact else "r.vector <#> asked.vector::vector")
    return sql.SQL(
        "SELECT asked.number, best.id, best.score FROM unnest(%(queries)s::text[]) WITH ORDINALITY"
        " AS asked(vector, number) CROSS JOIN LATERAL (SELECT id, 0 - (r.vector <#> asked.vector::vector) AS score"
        " FROM {table} AS r {where} ORDER BY {order} LIMIT %(k)s) AS best"
    ).format(table=table, where=where, order=order)


def _text(vector: Vectors) -> str:
    """Return a vector, of shape (dimensions,), as pgvector reads it; not a bit is lost."""
    return f"[{','.join(map(repr, vector.tolist()))}]"


def _vector(text: str) -> Vectors:
    """Return a vector of shape (dimensions,) from pgvector's text."""
    return np.array(text[1:-1].split(","), dtype=np.float32)
