"""The index in Milvus, in Milvus Lite."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mercat.errors import ArtifactError, ConnectError, DataError, MissingExtra
from mercat.testing.indexes import DIMENSIONS, FINGERPRINT, IndexContract, names, unit_rows

pytest.importorskip("pymilvus", reason="pymilvus is not installed")
pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
from pymilvus import MilvusException

from mercat.indexes.servers import milvus as room
from mercat.indexes.servers.milvus import Milvus

Make = Callable[..., Milvus]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One file for all tests: each starts a server of its own."""
    from milvus_lite.server_manager import server_manager_instance

    path = str(tmp_path_factory.mktemp("milvus") / "all.db")
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs what it raises
    yield path
    server_manager_instance.release_server(path)


@pytest.fixture
def make(uri: str, tmp_path: Path) -> Iterator[Make]:
    made: list[Milvus] = []
    name = f"t{uuid.uuid4().hex[:12]}"

    def one(**options: Any) -> Milvus:
        made.append(Milvus(tmp_path, "help", **{"uri": uri, "name": name, **options}))
        return made[-1]

    yield one
    for place in made:
        place.close()


class TestMilvus(IndexContract):
    exact = False

    @pytest.fixture(autouse=True)
    def _local(self, make: Make) -> None:
        self.make = make

    def factory(self, folder: Path) -> Milvus:
        return self.make()


def saved(place: Milvus, rows: int):
    index = place.open(DIMENSIONS, FINGERPRINT)
    index.upsert(names(rows), unit_rows(rows, seed=1))
    index.sequence = 7
    index.save(place.folder)
    return index


def test_filters_of_few_rows_are_compared_here_and_of_many_there(make: Make):
    place = make(flat_rows=100)
    index = saved(place, 300)
    few = index.search(unit_rows(3, seed=2), 10, allowed=names(100))
    many = index.search(unit_rows(3, seed=2), 10, allowed=names(200))
    assert [(one.exact, one.eligible, len(one.ids)) for one in (*few, *many)] == [(True, 100, 10)] * 3 + [
        (False, 200, 10)
    ] * 3
    truth = place._server().table(index._table_name, DIMENSIONS)._compared(unit_rows(3, seed=2), 10, names(200), ())
    for one, best in zip(many, truth, strict=True):
        assert len(set(one.ids) & {key for key, _ in best}) >= 9


def test_a_graph_that_finds_too_few_is_not_the_last_word(make: Make, monkeypatch):
    index = saved(make(), 60)
    index.delete(["r1"])
    client, real = index._table._client, index._table._client.search
    monkeypatch.setattr(client, "search", lambda *a, **k: [answer[:2] for answer in real(*a, **k)])
    (found,) = index.search(unit_rows(60, seed=1)[5:6], 59)
    assert (sorted(found.ids), found.ids[0]) == (sorted({*names(60)} - {"r1"}), "r5")


def test_ids_that_look_like_an_expression(make: Make):
    place = make()
    strange = ['"] or id != "', "'; x", "a\\", "\\n", "\n\t", "{ids}", "字"]
    index = place.open(DIMENSIONS, FINGERPRINT)
    index.upsert(strange, unit_rows(7, seed=1))
    index.save(place.folder)
    again = place.open(DIMENSIONS, FINGERPRINT)
    assert [one.ids[0] for one in again.search(unit_rows(7, seed=1), 1, allowed=strange)] == strange
    assert again.delete([*strange, "nobody"]) == 7
    again.save(place.folder)
    assert len(place.open(DIMENSIONS, FINGERPRINT)) == 0


def test_ids_that_are_too_long(make: Make):
    with pytest.raises(DataError, match="at most 1024 bytes"):
        make().open(DIMENSIONS, FINGERPRINT).upsert(["字" * 400], unit_rows(1, seed=1))


def test_a_server_gets_ids_beside_the_expression(make: Make):
    server = make()._server()
    server.local = False
    ids = ['a"b', "c"]
    assert server.chosen("id", ids, are="not in") == {"filter": "id not in {ids}", "filter_params": {"ids": ids}}


def test_a_fresh_one_has_a_collection_of_its_own_and_the_old_one_goes_after_the_switch(make: Make):
    place = make()
    old = saved(place, 20)
    (before,) = _collections(place)
    fresh = place.open(DIMENSIONS, FINGERPRINT, fresh=True)
    fresh.upsert(names(30), unit_rows(30, seed=1))
    assert _collections(place) == [before]
    fresh.save(place.folder)
    assert before not in _collections(place)
    assert len(old.search(unit_rows(1, seed=2), 100)[0].ids) == 30


KILLED = """
    import os, sys
    from mercat.indexes.servers.milvus import Milvus
    from mercat.testing.indexes import DIMENSIONS, FINGERPRINT, names, unit_rows
    from pathlib import Path

    place = Milvus(Path(sys.argv[1]), "help")
    index = place.open(DIMENSIONS, FINGERPRINT)
    index.upsert(names(40), unit_rows(40, seed=1))
    index.sequence = 7
    index.save(place.folder)
    index.upsert(names(20, start=30), unit_rows(20, seed=2))
    index.delete(["r0"])
    index.sequence = 9
    write = place._server().set_note
    place._server().set_note = lambda name, text: write(name, text) if '"unfinished": 9' in text else os._exit(9)
    index.save(place.folder)
"""


def test_a_process_that_is_killed_between_the_rows_and_the_manifest(tmp_path: Path):
    from milvus_lite.server_manager import server_manager_instance

    died = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)], env=os.environ, check=False)
    assert died.returncode == 9
    place = Milvus(tmp_path, "help")
    index = place.open(DIMENSIONS, FINGERPRINT)
    assert (index.sequence, place.stored().rows) == (7, 40)
    assert "change 9" in index.info().note
    index.upsert(names(20, start=30), unit_rows(20, seed=2))
    index.delete(["r0"])
    index.sequence = 9
    index.save(place.folder)
    again = place.open(DIMENSIONS, FINGERPRINT)
    assert (len(again), again.sequence, place.stored().rows) == (49, 9, 49)
    assert [one.ids[0] for one in again.search(unit_rows(20, seed=2), 1)] == names(20, start=30)
    place.close()
    server_manager_instance.release_server(place._uri)


def test_a_server_that_is_not_there(make: Make):
    with pytest.raises(ConnectError, match=r"at http://127.0.0.1:9"):
        make(uri="http://127.0.0.1:9", timeout_s=1).open(DIMENSIONS, FINGERPRINT)


def test_a_wrong_token(make: Make, monkeypatch):
    def refuse(*_: Any, **__: Any) -> Any:
        raise MilvusException(1800, "auth check failure, please check username and password are correct")

    monkeypatch.setattr(room, "MilvusClient", refuse)
    with pytest.raises(ConnectError, match="does not take the token"):
        make(uri="http://milvus.example:19530", token="user:hidden").open(DIMENSIONS, FINGERPRINT)


def test_a_local_one_without_milvus_lite(make: Make, monkeypatch):
    monkeypatch.setattr(room, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"mercat\[milvus-lite\]"):
        make().open(DIMENSIONS, FINGERPRINT)


def test_the_right_to_write_a_server_is_a_lease(make: Make):
    place = make()
    place._server()
    place._local = False
    with place.writing(), pytest.raises(ArtifactError, match="its lease ends"), place.writing():
        pass


def _collections(place: Milvus) -> list[str]:
    return [name for name in place._server().tables() if name.startswith(place._name)]
