"""An index in Qdrant: a server by its url, or the client's local mode, which keeps a file and compares every row.

Up to `flat_rows` rows, or rows that a filter allows, the server is told to compare every one. Above, it walks its
graph, which knows the filter; where that ends early, every row is compared after all.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from mercat.errors import ArtifactError, ConfigError, ConnectError
from mercat.indexes import storage
from mercat.indexes.base import Vectors
from mercat.indexes.servers.base import MOST_FLAT, Graph, Ranked, TableGone, without_user
from mercat.indexes.servers.lease import leased
from mercat.indexes.servers.place import ServerPlace

BACKEND = "qdrant"
_NOTES = "mercat_index_notes"
_SPACE = uuid.UUID("5d0f7a52-9f6c-5c1b-8a55-3f3a1c6a2f10")  # points are numbered by uuid5 of the id in here
_WRITES, _READS, _QUERIES = 256, 1000, 32  # points and searches in one request


class Qdrant(ServerPlace["_Qdrant"]):
    """What `use = "qdrant"` in `[indexes.NAME]` builds: a collection of the server at `url`, or a local one.

    Without `url` it is local, in the folder of the index or in `path` (":memory:" for nowhere): for one process, and
    some 10,000 rows. `name` is that of the index on the server, by default "mercat_" and the section's; workspaces that
    give the same name share the index. `m` and `ef_construction` are of the graph, `ef_search` says how many candidates
    a search keeps, `flat_rows` up to how many rows all are compared. Raises ConfigError for a url together with a path.
    """

    def __init__(
        self,
        workspace_folder: Path,
        section_name: str,
        *,
        url: str = "",
        api_key: str = "",
        path: str = "",
        name: str = "",
        m: int = 16,
        ef_construction: int = 100,
        ef_search: int = 64,
        flat_rows: int = MOST_FLAT,
        timeout_s: float = 30.0,
    ) -> None:
        super().__init__(workspace_folder, section_name, name)
        if url and path:
            raise ConfigError(
                f"[indexes.{section_name}] names a url and a path", "A Qdrant index has one of them", "leave out `path`"
            )
        self._graph = Graph(m, ef_construction, ef_search, flat_rows)
        self._url, self._api_key, self._timeout_s = url, api_key, timeout_s
        self._path = path or str(self._folder / "qdrant")

    def _connect(self) -> _Qdrant:
        if self._url:
            client = QdrantClient(
                url=self._url,
                api_key=self._api_key or None,
                timeout=max(1, round(self._timeout_s)),
                check_compatibility=False,  # it would ask the server before anybody asks us
            )
        else:
            client = _local(self._path, self._section)
        return _Qdrant(client, self._section, self._graph, where=self._url)

    def writing(self) -> AbstractContextManager[None]:
        """Hold a lease on a server, a lock file for a local index; see `leased` and `IndexFactory.writing`."""
        return leased(self._server(), self._name, self._section) if self._url else storage.writing(self._folder)


class _Qdrant:
    """A client, with its errors in our words. `where` is the url of a server, "" for local mode."""

    backend = BACKEND
    atomic = False
    longest_id = 65_535

    def __init__(self, client: QdrantClient, section: str, graph: Graph, *, where: str) -> None:
        self.client, self.graph, self.local = client, graph, not where
        self._turn = RLock() if self.local else nullcontext()  # local mode is not made for several threads
        self._section, self._where = section, without_user(where) or "this machine"

    def note(self, name: str) -> str | None:
        try:
            with self.said():
                found = self.client.retrieve(_NOTES, [point_of(name)], with_payload=True)
        except TableGone:
            return None
        return str((found[0].payload or {}).get("text")) if found else None

    def set_note(self, name: str, text: str) -> None:
        with self.said():
            if not self.client.collection_exists(_NOTES):
                size = models.VectorParams(size=1, distance=models.Distance.DOT)
                try:
                    self.client.create_collection(_NOTES, vectors_config=size)
                except UnexpectedResponse as error:
                    if error.status_code != 409:  # another process has made it
                        raise
            point = models.PointStruct(id=point_of(name), vector=[1.0], payload={"name": name, "text": text})
            self.client.upsert(_NOTES, [point], wait=True)

    def drop_note(self, name: str) -> None:
        with self.said():
            self.client.delete(_NOTES, models.PointIdsList(points=[point_of(name)]), wait=True)

    def tables(self) -> list[str]:
        with self.said():
            return [one.name for one in self.client.get_collections().collections]

    def create(self, table: str, dimensions: int) -> _Points:
        with self.said():
            self.client.create_collection(
                table,
                vectors_config=models.VectorParams(size=dimensions, distance=models.Distance.DOT),
                hnsw_config=models.HnswConfigDiff(m=self.graph.m, ef_construct=self.graph.ef_construction),
            )
        return self.table(table, dimensions)

    def table(self, table: str, dimensions: int) -> _Points:
        return _Points(self, table, dimensions)

    def drop(self, table: str) -> None:
        with self.said():
            self.client.delete_collection(table)

    def close(self) -> None:
        self.client.close()

    @contextmanager
    def said(self) -> Iterator[None]:
        """Say the client's errors in our words."""
        asked = f"The index '{self._section}' on Qdrant at {self._where}"
        try:
            with self._turn:
                yield
        except ResponseHandlingException as error:
            cure = f"start the server, or mend `url` in [indexes.{self._section}]"
            raise ConnectError(asked, f"It does not answer: {error.source or error}", cure) from error
        except UnexpectedResponse as error:
            if error.status_code == 404:
                raise TableGone(str(error)) from error
            if error.status_code in (401, 403):
                cure = f'api_key = {{ env = "QDRANT_API_KEY" }} in [indexes.{self._section}]'
                raise ConnectError(asked, "The server does not take the api_key", cure) from error
            said = (
                f"It answers {error.status_code} {error.reason_phrase}: {error.content[:200].decode(errors='replace')}"
            )
            raise ConnectError(asked, said, "the log of the server, then the same again") from error
        except ValueError as error:
            if "not found" in str(error):  # so says local mode
                raise TableGone(str(error)) from error
            raise


class _Points:
    """A collection: a point per row, numbered by the uuid5 of the row's id, which is its payload."""

    def __init__(self, server: _Qdrant, table: str, dimensions: int) -> None:
        self._server, self._client, self._name = server, server.client, table
        self._dimensions, self._graph = dimensions, server.graph
        self.kind = "flat" if server.local else f"HNSW{server.graph.m}"
        self.device = "cpu" if server.local else BACKEND

    def compares_all(self, candidates: int, *, filtered: bool) -> bool:
        return self._server.local or candidates <= self._graph.flat_rows

    def present(self, ids: Sequence[str]) -> set[str]:
        ids_of = {point_of(key): key for key in ids}
        points, found = list(ids_of), set()
        for start in range(0, len(points), _READS):
            with self._server.said():
                some = self._client.retrieve(
                    self._name, points[start : start + _READS], with_payload=False, with_vectors=False
                )
            found |= {ids_of[str(point.id)] for point in some}
        return found

    def count_of(self, ids: Sequence[str]) -> int:
        with self._server.said():
            return self._client.count(self._name, count_filter=_filter(ids, ()), exact=True).count

    def count(self) -> int:
        with self._server.said():
            return self._client.count(self._name, exact=True).count

    def nearest(
        self, queries: Vectors, k: int, *, only: Sequence[str] | None, without: Sequence[str], exact: bool
    ) -> list[Ranked]:
        """See `Table.nearest`. `queries` has shape (queries, dimensions)."""
        effort = models.SearchParams(exact=exact, hnsw_ef=None if exact else max(self._graph.ef_search, k))
        params = None if self._server.local else effort  # local mode compares every row and warns of any effort
        chosen = _filter(only, without)
        found: list[Ranked] = []
        for start in range(0, len(queries), _QUERIES):
            asked = [
                models.QueryRequest(query=row.tolist(), limit=k, filter=chosen, params=params, with_payload=True)
                for row in queries[start : start + _QUERIES]
            ]
            with self._server.said():
                answers = self._client.query_batch_points(self._name, asked)
            found += [[(_id(point), float(point.score)) for point in answer.points] for answer in answers]
        return found

    def pages(self, batch: int) -> Iterator[tuple[list[str], Vectors]]:
        """Yield every row once. The vectors have shape (ids of the page, dimensions)."""
        offset: Any = None
        while True:
            with self._server.said():
                points, offset = self._client.scroll(
                    self._name, limit=batch, offset=offset, with_payload=True, with_vectors=True
                )
            if points:
                yield [_id(point) for point in points], np.array([point.vector for point in points], dtype=np.float32)
            if offset is None:
                return

    def write(self, ids: Sequence[str], vectors: Vectors, gone: Sequence[str], *, note: tuple[str, str] | None) -> None:
        """Put rows in, take others out, and last set the note; see `Table.write`.

        The vectors have shape (ids, dimensions).
        """
        for start in range(0, len(ids), _WRITES):
            some = ids[start : start + _WRITES]
            batch = models.Batch(
                ids=[point_of(key) for key in some],
                vectors=vectors[start : start + _WRITES].tolist(),
                payloads=[{"id": key} for key in some],
            )
            with self._server.said():
                self._client.upsert(self._name, batch, wait=True)
        for start in range(0, len(gone), _READS):
            points: list[Any] = [point_of(key) for key in gone[start : start + _READS]]
            with self._server.said():
                self._client.delete(self._name, models.PointIdsList(points=points), wait=True)
        if note is not None:
            self._server.set_note(*note)


@lru_cache(maxsize=1 << 17)
def point_of(key: str) -> str:
    """Return the number of an id's point: Qdrant takes UUIDs and whole numbers only."""
    return str(uuid.uuid5(_SPACE, key))


def _id(point: Any) -> str:
    return str(point.payload["id"])


def _filter(only: Sequence[str] | None, without: Sequence[str]) -> models.Filter | None:
    if only is None and not without:
        return None
    must: list[Any] = [] if only is None else [models.HasIdCondition(has_id=[point_of(key) for key in only])]
    less: list[Any] = [models.HasIdCondition(has_id=[point_of(key) for key in without])] if without else []
    return models.Filter(must=must or None, must_not=less or None)


def _local(path: str, section: str) -> QdrantClient:
    if path == ":memory:":
        return QdrantClient(":memory:")
    try:
        return QdrantClient(path=path)
    except RuntimeError as error:
        if "already accessed" not in str(error):
            raise
        raise ArtifactError(
            f"Opening the index '{section}' in {path}",
            "Another process has it open; a local Qdrant index is for one",
            f"end that process, or name a server: url in [indexes.{section}]",
        ) from error
