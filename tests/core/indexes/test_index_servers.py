"""What all indexes on servers have in common: names, configuration, moving, what is missing."""

from __future__ import annotations

import importlib.util
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mercat
from mercat.errors import ArtifactError, ConfigError, MissingExtra
from mercat.indexes import move
from mercat.indexes.base import IndexFactory, Settling
from mercat.indexes.exact import ExactIndex
from mercat.indexes.servers.base import Graph, without_user
from mercat.indexes.servers.manifests import is_of, new_table
from mercat.indexes.servers.place import checked_name, name_of
from mercat.parts import register_core
from mercat.registry import Registry
from mercat.testing.indexes import names, unit_rows

SERVERS = {"pgvector": "psycopg", "qdrant": "qdrant_client", "milvus": "pymilvus"}


def part(name: str):
    registry = Registry()
    register_core(registry)
    return registry.indexes.get(name)


@pytest.fixture(params=[pytest.param("pgvector", marks=pytest.mark.postgres), "qdrant", "milvus"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """An empty index on each server."""
    needed = [SERVERS[request.param], *(["milvus_lite"] if request.param == "milvus" else [])]
    for package in needed:
        pytest.importorskip(package, reason=f"{package} is not installed")
    options: dict[str, Any] = {"qdrant": {"path": ":memory:"}}.get(request.param, {})
    if request.param == "pgvector":
        url = request.getfixturevalue("server").empty("vectors")
        options = {"url": url, "name": f"t{uuid.uuid4().hex[:8]}"}
    made = part(request.param).load()(tmp_path, "help", **options)
    yield made
    made.close()
    if request.param == "milvus":
        from milvus_lite.server_manager import server_manager_instance

        server_manager_instance.release_server(made._uri)


def test_an_index_moves_to_a_server_and_back(place: Any, tmp_path: Path):
    """FAISS, a server, the exact one: the same rows, and a second move changes nothing."""
    faiss = pytest.importorskip("mercat.indexes.faiss", reason="faiss-cpu is not installed")
    assert isinstance(place, IndexFactory)
    source = faiss.Faiss(tmp_path, "old", device="cpu").open(8, "f")
    source.upsert(names(2500), unit_rows(2500, seed=1, dimensions=8))
    source.sequence = 12
    there = place.open(8, "f", contents="documents of help")
    assert isinstance(there, Settling)
    with place.writing():
        moved = move(source, there)
        there.save(place.folder)
    assert (moved.upserted, moved.unchanged, moved.deleted) == (2500, 0, 0)
    opened = place.open(8, "f", contents="documents of help")
    assert (len(opened), opened.sequence) == (2500, 12)
    again = move(source, opened)
    assert (again.upserted, again.unchanged, again.deleted) == (0, 2500, 0)
    back = ExactIndex(8, "f")
    assert (move(opened, back).upserted, back.sequence) == (2500, 12)
    queries = unit_rows(20, seed=3, dimensions=8)
    assert [one.ids for one in back.search(queries, 9)] == [one.ids for one in source.search(queries, 9)]
    shared = [
        len(set(a.ids) & set(b.ids)) for a, b in zip(opened.search(queries, 9), source.search(queries, 9), strict=True)
    ]
    assert sum(shared) >= 9 * 20 * 0.97


def test_many_threads_search_while_one_writes_and_saves(place: Any):
    """A search sees each call whole, also while its rows are on their way to the server."""
    index = place.open(8, "f")
    index.upsert(names(100), unit_rows(100, seed=1, dimensions=8))
    index.save(place.folder)
    problems: list[object] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                (found,) = index.search(np.ones((1, 8), dtype=np.float32), 20)
                twins = [score for key, score in zip(found.ids, found.scores, strict=True) if key in ("r1", "r99")]
                if len(set(found.ids)) != 20 or found.eligible != 100 or len(twins) == 1:
                    problems.append(found)
                if len(twins) == 2 and abs(twins[0] - twins[1]) > 1e-5:
                    problems.append(twins)
            except Exception as error:
                problems.append(error)

    index.upsert(["r1", "r99"], np.ones((2, 8), dtype=np.float32))
    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for step in range(6):
        near = np.repeat(1 + 0.2 * unit_rows(1, seed=step, dimensions=8), 2, axis=0).astype(np.float32)
        index.upsert(
            ["r1", *names(20, start=step * 5 + 2), "r99"],
            np.vstack([near[:1], unit_rows(20, seed=step + 50, dimensions=8), near[1:]]),
        )
        index.save(place.folder)
    done.set()
    for reader in readers:
        reader.join()
    assert not problems


def test_a_table_that_somebody_has_dropped(place: Any):
    index = place.open(8, "f")
    index.upsert(names(5), unit_rows(5, seed=1, dimensions=8))
    index.save(place.folder)
    place._server().drop(index._table_name)
    for act in (lambda: place.open(8, "f"), lambda: index.search(unit_rows(1, seed=1, dimensions=8), 1)):
        with pytest.raises(ArtifactError, match="somebody has dropped it"):
            act()
    fresh = place.open(8, "f", fresh=True)
    fresh.upsert(names(3), unit_rows(3, seed=1, dimensions=8))
    fresh.save(place.folder)
    assert len(place.open(8, "f")) == 3


CONFIG = """
[encoders.default]
use = "hashing"

[indexes.help]
use = "qdrant"
path = { env = "MERCAT_TEST_PLACE" }
ef_search = 100

[retrievers.help]
use = "dense"
encoder = "default"
index = "help"
collection = "help"
"""


def test_a_retriever_on_a_server_follows_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")
    from mercat.values import Document

    monkeypatch.setenv("MERCAT_TEST_PLACE", str(tmp_path / "there"))
    (tmp_path / "mercat.toml").write_text(CONFIG, encoding="utf-8")
    with mercat.open(tmp_path / "mercat.toml") as app:
        app.store.upgrade()
        app.store.upsert([Document("a", "change my pin"), Document("b", "opening hours")], collection="help")
        retriever = app.get("retrievers", "help")
        assert retriever.refresh().upserted == 2
        assert retriever.search("change the pin", k=1)[0].id == "a"
        app.store.upsert([Document("a", "nothing of the kind"), Document("c", "change my pin")], collection="help")
        assert retriever.refresh().upserted == 2
    with mercat.open(tmp_path / "mercat.toml") as app:
        retriever = app.get("retrievers", "help")
        assert retriever.search("change my pin", k=1)[0].id == "c"
        (info,) = retriever.infos()
        assert (info.backend, info.kind, info.rows) == ("qdrant", "flat", 3)
        assert retriever.rebuild().upserted == 3


@pytest.mark.parametrize(("name", "package"), SERVERS.items())
def test_what_is_not_installed_is_named_with_its_extra(name: str, package: str, monkeypatch: pytest.MonkeyPatch):
    module = f"mercat.indexes.servers.{name}"
    for loaded in [known for known in sys.modules if known.partition(".")[0] == package or known.startswith(module)]:
        monkeypatch.delitem(sys.modules, loaded)
    find = importlib.util.find_spec
    monkeypatch.setattr(sys, "meta_path", [_Blocked(package), *sys.meta_path])
    extra = {"pgvector": "postgres"}.get(name, name)
    with pytest.raises(MissingExtra, match=rf"'{package}'.*mercat\[{extra}\]"):
        part(name).load()
    assert find("mercat.indexes.servers")


class _Blocked:
    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] == self._package:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


def test_names_of_sections_become_names_on_a_server():
    assert name_of("help") == "mercat_help"
    made = [name_of(section) for section in ("help-articles", "help_articles", "help articles", "字", "x" * 300)]
    assert len(set(made)) == 5
    assert all(checked_name(name) == name for name in made)


@pytest.mark.parametrize("name", ["1a", "a-b", 'a"b', "a/b", "ä", "a" * 41, "a\n"])
def test_names_that_a_server_might_read_otherwise_are_refused(name: str):
    with pytest.raises(ConfigError, match="at most 40 letters"):
        checked_name(name)


def test_addresses_are_shown_without_passwords():
    assert without_user("https://user:hidden@vectors.example:6333/x") == "https://vectors.example:6333"
    assert without_user("/srv/index/milvus.db") == "/srv/index/milvus.db"


def test_tables_are_of_one_index():
    table = new_table("help")
    assert is_of(table, "help")
    assert not is_of(table, "hel")
    assert not is_of(new_table(table), "help")
    assert len(new_table("a" * 40)) + len("_hnsw") <= 63  # PostgreSQL cuts longer names off


@pytest.mark.parametrize("wrong", [{"m": 1}, {"ef_construction": 10}, {"ef_search": 1001}, {"flat_rows": -1}])
def test_graphs_that_cannot_be(wrong: dict[str, int]):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Graph(**wrong)
