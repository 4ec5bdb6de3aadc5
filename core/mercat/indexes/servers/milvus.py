"""An index in Milvus: a server by its uri, or Milvus Lite, which keeps a file and runs in this process.

A search walks the graph with the filter in mind. Where a filter allows at most `flat_rows` rows, and where a graph
finds fewer than there are, the vectors are fetched and compared here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from pymilvus import DataType, MilvusClient, MilvusException

from mercat.errors import ConnectError, missing_extra
from mercat.indexes import storage
from mercat.indexes.base import Vectors
from mercat.indexes.scan import RowNumbers, scan
from mercat.indexes.servers.base import Graph, Ranked, TableGone, without_user
from mercat.indexes.servers.lease import leased
from mercat.indexes.servers.place import ServerPlace

BACKEND = "milvus"
_NOTES = "mercat_index_notes"
_NO_SUCH = 100  # Milvus's code for a collection that is not there
_MOST_FOUND = 16_384  # hits of one search
_ROWS, _QUERIES = 1000, 64  # in one request
_LONGEST_NOTE = 65_535
_QUIET = {"grpc.keepalive_time_ms": 2**31 - 1}  # Milvus Lite hangs up on who asks every ten seconds if it is there


class Milvus(ServerPlace["_Milvus"]):
    """What `use = "milvus"` in `[indexes.NAME]` builds: a collection of the server at `uri`, or a local one.

    Without `uri` it is local, a file in the folder of the index; a `uri` that is a path is a file there. Local ones
    need the package milvus-lite, and are for one process. `token` is "user:password" or an API key. `name` is that of
    the index on the server, by default "mercat_" and the section's; workspaces that give the same name share the index.
    `m` and `ef_construction` are of the graph, `ef_search` says how many candidates a search keeps, `flat_rows` up to
    how many rows of a filter are compared one by one; `timeout_s` is for connecting.
    """

    def __init__(
        self,
        workspace_folder: Path,
        section_name: str,
        *,
        uri: str = "",
        token: str = "",
        database: str = "",
        name: str = "",
        m: int = 16,
        ef_construction: int = 100,
        ef_search: int = 64,
        flat_rows: int = 1000,
        timeout_s: float = 30.0,
    ) -> None:
        super().__init__(workspace_folder, section_name, name)
        self._graph = Graph(m, ef_construction, ef_search, flat_rows)
        self._uri = uri or str(self._folder / "milvus.db")
        self._local = "://" not in self._uri
        self._token, self._database, self._timeout_s = token, database, timeout_s

    def _connect(self) -> _Milvus:
        if self._local:
            if find_spec("milvus_lite") is None:
                raise missing_extra("A local Milvus index", "milvus-lite", "milvus-lite")
            Path(self._uri).parent.mkdir(parents=True, exist_ok=True)
        with _said(self._section, self._uri):
            client = MilvusClient(
                self._uri,
                token=self._token,
                db_name=self._database,
                timeout=self._timeout_s,
                **({"grpc_options": _QUIET} if self._local else {}),
            )
        return _Milvus(client, self._section, self._graph, uri=self._uri, local=self._local)

    def writing(self) -> AbstractContextManager[None]:
        """Hold a lease on a server, a lock file for a local index; see `leased` and `IndexFactory.writing`."""
        return storage.writing(self._folder) if self._local else leased(self._server(), self._name, self._section)


class _Milvus:
    """A client, with its errors in our words."""

    backend = BACKEND
    atomic = False
    longest_id = 1024

    def __init__(self, client: MilvusClient, section: str, graph: Graph, *, uri: str, local: bool) -> None:
        self.client, self.graph, self.local = client, graph, local
        self._section, self._uri = section, uri
        self._notes_loaded = False

    def note(self, name: str) -> str | None:
        with self.said():
            if not self._load_notes():
                return None
            found = self.client.query(_NOTES, **self.chosen("name", [name]), output_fields=["text"])
        return str(found[0]["text"]) if found else None

    def set_note(self, name: str, text: str) -> None:
        with self.said():
            if not self._load_notes():
                self._make(_NOTES, "name", 2, "FLAT", {}, text=_LONGEST_NOTE)
            self.client.upsert(_NOTES, [{"name": name, "text": text, "vector": [1.0, 0.0]}])

    def drop_note(self, name: str) -> None:
        with self.said():
            if self._load_notes():
                self.client.delete(_NOTES, **self.chosen("name", [name]))

    def tables(self) -> list[str]:
        with self.said():
            return [str(name) for name in self.client.list_collections()]

    def create(self, table: str, dimensions: int) -> _Entities:
        graph = {"M": self.graph.m, "efConstruction": self.graph.ef_construction}
        with self.said():
            self._make(table, "id", dimensions, "HNSW", graph)
        return self.table(table, dimensions)

    def table(self, table: str, dimensions: int) -> _Entities:
        with self.said():
            self.client.load_collection(table)  # after a start a server may have it on the disk only
        return _Entities(self, table, dimensions)

    def drop(self, table: str) -> None:
        with self.said():
            self.client.drop_collection(table)

    def close(self) -> None:
        self.client.close()

    def said(self) -> AbstractContextManager[None]:
        """Say the client's errors in our words."""
        return _said(self._section, self._uri)

    def chosen(self, field: str, ids: Sequence[str], *, are: str = "in") -> dict[str, Any]:
        """Return the arguments that choose rows by their ids: a template, which Milvus Lite does not know."""
        if self.local:
            return {"filter": f"{field} {are} {json.dumps(list(ids), ensure_ascii=False)}"}
        return {"filter": f"{field} {are} {{ids}}", "filter_params": {"ids": list(ids)}}

    def _load_notes(self) -> bool:
        """Say whether there are notes; have the server load them."""
        if not self._notes_loaded and self.client.has_collection(_NOTES):
            self.client.load_collection(_NOTES)
            self._notes_loaded = True
        return self._notes_loaded

    def _make(
        self, name: str, key: str, dimensions: int, index_type: str, params: dict[str, int], **texts: int
    ) -> None:
        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field(key, DataType.VARCHAR, is_primary=True, max_length=self.longest_id)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimensions)
        for text, longest in texts.items():
            schema.add_field(text, DataType.VARCHAR, max_length=longest)
        index = self.client.prepare_index_params()
        index.add_index("vector", index_type=index_type, metric_type="IP", params=params)
        # "Strong": what a call has written the next one sees, wherever it comes from
        self.client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")


class _Entities:
    """A collection of ids and vectors."""

    def __init__(self, server: _Milvus, table: str, dimensions: int) -> None:
        self._server, self._client, self._name = server, server.client, table
        self._dimensions, self._graph = dimensions, server.graph
        self.kind = f"HNSW{server.graph.m}"
        self.device = "cpu" if server.local else BACKEND

    def compares_all(self, candidates: int, *, filtered: bool) -> bool:
        return filtered and candidates <= self._graph.flat_rows

    def present(self, ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(ids), _ROWS):
            with self._server.said():
                chosen = self._server.chosen("id", ids[start : start + _ROWS])
                found |= {str(row["id"]) for row in self._client.query(self._name, **chosen, output_fields=["id"])}
        return found

    def count_of(self, ids: Sequence[str]) -> int:
        return self._counted(self._server.chosen("id", ids))

    def count(self) -> int:
        return self._counted({"filter": ""})

    def nearest(
        self, queries: Vectors, k: int, *, only: Sequence[str] | None, without: Sequence[str], exact: bool
    ) -> list[Ranked]:
        """See `Table.nearest`. `queries` has shape (queries, dimensions)."""
        if exact or k > _MOST_FOUND:
            return self._compared(queries, k, only, without)
        chosen: dict[str, Any] = {}
        if only is not None:
            chosen = self._server.chosen("id", only)
        elif without:
            chosen = self._server.chosen("id", without, are="not in")
        params = {"metric_type": "IP", "params": {"ef": max(self._graph.ef_search, k)}}
        found: list[Ranked] = []
        for start in range(0, len(queries), _QUERIES):
            data = queries[start : start + _QUERIES].tolist()
            with self._server.said():
                answers = self._client.search(
                    self._name, data, limit=k, search_params=params, output_fields=["id"], **chosen
                )
            found += [[(str(hit["id"]), float(hit["distance"])) for hit in answer] for answer in answers]
        return found

    def pages(self, batch: int) -> Iterator[tuple[list[str], Vectors]]:
        """Yield every row once. The vectors have shape (ids of the page, dimensions)."""
        with self._server.said():
            rows = self._client.query_iterator(self._name, batch_size=batch, output_fields=["id", "vector"])
            try:
                while page := rows.next():
                    yield _rows(page)
            finally:
                rows.close()

    def write(self, ids: Sequence[str], vectors: Vectors, gone: Sequence[str], *, note: tuple[str, str] | None) -> None:
        """Put rows in, take others out, and last set the note; see `Table.write`.

        The vectors have shape (ids, dimensions).
        """
        for start in range(0, len(ids), _ROWS):
            some = zip(ids[start : start + _ROWS], vectors[start : start + _ROWS], strict=True)
            with self._server.said():
                self._client.upsert(self._name, [{"id": key, "vector": vector.tolist()} for key, vector in some])
        for start in range(0, len(gone), _ROWS):
            with self._server.said():
                self._client.delete(self._name, **self._server.chosen("id", gone[start : start + _ROWS]))
        if note is not None:
            self._server.set_note(*note)

    def _counted(self, chosen: dict[str, Any]) -> int:
        with self._server.said():
            return int(self._client.query(self._name, **chosen, output_fields=["count(*)"])[0]["count(*)"])

    def _compared(self, queries: Vectors, k: int, only: Sequence[str] | None, without: Sequence[str]) -> list[Ranked]:
        """Fetch the rows and compare every one here."""
        ids: list[str] = []

        def blocks() -> Iterator[tuple[RowNumbers, Vectors]]:
            ids.clear()
            for keys, vectors in self.pages(_ROWS) if only is None else self._fetched(only):
                keep = [row for row, key in enumerate(keys) if key not in hidden]
                if keep:
                    yield np.arange(len(ids), len(ids) + len(keep)), vectors[keep]
                    ids.extend(keys[row] for row in keep)

        hidden = set(without)
        best = scan(queries, blocks, k)
        return [[(ids[row], score) for row, score in zip(r.tolist(), s.tolist(), strict=True)] for r, s in best]

    def _fetched(self, ids: Sequence[str]) -> Iterator[tuple[list[str], Vectors]]:
        for start in range(0, len(ids), _ROWS):
            with self._server.said():
                chosen = self._server.chosen("id", ids[start : start + _ROWS])
                rows = self._client.query(self._name, **chosen, output_fields=["id", "vector"])
            if rows:
                yield _rows(rows)


def _rows(rows: Sequence[Any]) -> tuple[list[str], Vectors]:
    """Return ids and vectors of shape (ids, dimensions)."""
    return [str(row["id"]) for row in rows], np.array([row["vector"] for row in rows], dtype=np.float32)


@contextmanager
def _said(section: str, uri: str) -> Iterator[None]:
    asked, where = f"The index '{section}' on Milvus at {without_user(uri)}", f"[indexes.{section}]"
    try:
        yield
    except MilvusException as error:
        said = str(error.message)
        if error.code == _NO_SUCH or ("not found" in said and "collection" in said.lower()):
            raise TableGone(said) from error
        if "auth" in said.lower():
            cure = f'token = {{ env = "MILVUS_TOKEN" }} in {where}'
            raise ConnectError(asked, f"The server does not take the token: {said}", cure) from error
        raise ConnectError(asked, said, f"start the server, or mend `uri` in {where}") from error
