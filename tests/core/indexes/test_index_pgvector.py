"""The index in PostgreSQL, on a real server."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from mercat.errors import ArtifactError, ConfigError, ConnectError, DataError, FingerprintError
from mercat.indexes.base import Allowed
from mercat.testing.indexes import DIMENSIONS, FINGERPRINT, IndexContract, names, unit_rows

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
from mercat.indexes.servers.pgvector import Pgvector  # noqa: E402

pytestmark = pytest.mark.postgres
Make = Callable[..., Pgvector]


@pytest.fixture(scope="module")
def url(server: Any) -> str:
    return str(server.empty("vectors"))


@pytest.fixture
def make(url: str, tmp_path: Path) -> Iterator[Make]:
    """Return factories of an index that no other test has, under one name."""
    made: list[Pgvector] = []
    name = f"t{uuid.uuid4().hex[:12]}"

    def one(**options: Any) -> Pgvector:
        made.append(Pgvector(tmp_path, "help", **{"url": url, "name": name, **options}))
        return made[-1]

    yield one
    for place in made:
        place.close()


class OnPostgres(IndexContract):
    options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _server(self, make: Make) -> None:
        self.make = make

    def factory(self, folder: Path) -> Pgvector:
        return self.make(**self.options)


class TestFlat(OnPostgres):
    pass


class TestGraph(OnPostgres):
    """300 rows under a graph, once they are saved."""

    exact = False
    options: ClassVar[dict[str, Any]] = {"flat_rows": 0}


del OnPostgres


def saved(place: Pgvector, rows: int, **options: Any):
    index = place.open(DIMENSIONS, FINGERPRINT, **options)
    index.upsert(names(rows), unit_rows(rows, seed=1))
    index.sequence = 7
    index.save(place.folder)
    return index


def tables(url: str, place: Pgvector) -> list[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE %s", [f"{place._name}%"])
        return [name for (name,) in found]


def test_a_graph_is_used_and_finds_nearly_all(make: Make):
    """Every seventh row replaced after the graph was built; filters of many and of few rows."""
    place = make(flat_rows=300)
    index = saved(place, 2000)
    index.upsert(names(2000)[::7], unit_rows(286, seed=3))
    index.save(place.folder)
    vectors = unit_rows(2000, seed=1)
    vectors[::7] = unit_rows(286, seed=3)
    assert (index.info().kind, place.open(DIMENSIONS, FINGERPRINT).info().kind) == ("HNSW16", "HNSW16")
    queries = unit_rows(30, seed=2)
    for allowed, exact in ((None, False), (names(1500), False), (names(200), True)):
        rows = len(allowed or names(2000))
        truth = np.argsort(-(queries @ vectors[:rows].T), axis=1)[:, :10]
        found = index.search(queries, 10, allowed=allowed)
        assert {one.exact for one in found} == {exact}
        shared = [len(set(one.ids) & {f"r{row}" for row in best}) for one, best in zip(found, truth, strict=True)]
        assert np.mean(shared) >= (10 if exact else 9.3)
        assert all(one.eligible == rows and len(one.ids) == 10 for one in found)


def test_a_graph_that_finds_too_few_is_not_the_last_word(make: Make):
    index = saved(make(flat_rows=0, ef_search=1), 400)
    (found,) = index.search(unit_rows(1, seed=2), 400)
    assert sorted(found.ids) == sorted(names(400))


def test_a_very_long_list_of_allowed_ids(make: Make):
    index = saved(make(flat_rows=100), 500)
    allowed = Allowed([*names(450, start=20), *(f"other{row}" for row in range(100_000))], {})
    (found,) = index.search(unit_rows(500, seed=1)[30:31], 5, allowed=allowed)
    assert (found.ids[0], found.eligible, len(found.ids)) == ("r30", 450, 5)


def test_a_save_that_fails_halfway_has_done_nothing(make: Make, url: str, monkeypatch: pytest.MonkeyPatch):
    from mercat.indexes.servers import pgvector_rows

    place = make()
    index = saved(place, 50)
    index.upsert(["later"], unit_rows(1, seed=9))
    index.delete(["r0"])
    index.sequence = 8
    with monkeypatch.context() as patch:
        patch.setattr(pgvector_rows, "put_note", lambda *_: (_ for _ in ()).throw(psycopg.OperationalError("cut off")))
        with pytest.raises(ConnectError, match="cut off"):
            index.save(place.folder)
    again = make().open(DIMENSIONS, FINGERPRINT)
    assert (len(again), again.sequence, again.info().note) == (50, 7, "")
    assert again.search(unit_rows(1, seed=9), 1)[0].scores[0] < 0.99
    index.save(place.folder)
    again = make().open(DIMENSIONS, FINGERPRINT)
    assert (len(again), again.sequence) == (50, 8)
    assert again.search(unit_rows(1, seed=9), 1)[0].ids == ["later"]


def test_a_fresh_one_has_a_table_of_its_own_and_the_old_one_goes_after_the_switch(make: Make, url: str):
    place = make()
    old = saved(place, 20, contents="documents of help")
    (before,) = tables(url, place)
    fresh = place.open(DIMENSIONS, FINGERPRINT, fresh=True)
    fresh.upsert(names(30), unit_rows(30, seed=1))
    assert tables(url, place) == [before]
    fresh.save(place.folder)
    assert before not in tables(url, place) and len(tables(url, place)) == 1
    assert old.outdated()
    assert len(old.search(unit_rows(1, seed=2), 100)[0].ids) == 30
    assert not old.outdated()


def test_what_searches_with_the_old_encoder_is_told_so(make: Make):
    place = make()
    old = saved(place, 20)
    place.open(DIMENSIONS, "other@2", fresh=True).save(place.folder)
    with pytest.raises(FingerprintError, match="other@2"):
        old.search(unit_rows(1, seed=2), 1)


def test_a_replaced_index_is_not_written(make: Make):
    place = make()
    old = saved(place, 20)
    place.open(DIMENSIONS, FINGERPRINT, fresh=True).save(place.folder)
    with pytest.raises(ArtifactError, match="gone"):
        old.save(place.folder)


def test_a_large_build_does_not_wait_in_memory(make: Make, url: str, monkeypatch: pytest.MonkeyPatch):
    place = make()
    index = place.open(DIMENSIONS, FINGERPRINT)
    index._staged_rows = 100
    for start in range(0, 350, 50):
        index.upsert(names(50, start=start), unit_rows(50, seed=start))
    assert (len(index), len(index._staged)) == (350, 50)
    assert place.stored() is None
    index.save(place.folder)
    assert len(make().open(DIMENSIONS, FINGERPRINT)) == 350


def test_another_process_is_writing(make: Make):
    with make().writing(), pytest.raises(ArtifactError, match="Another process"), make().writing():
        pass


def test_ids_that_look_like_sql(make: Make):
    place = make()
    index = place.open(DIMENSIONS, FINGERPRINT)
    strange = ["'; DROP TABLE x; --", 'a"b', "a\tb\\n", "{1,2}", "%s", "NULL"]
    index.upsert(strange, unit_rows(6, seed=1))
    index.save(place.folder)
    again = make().open(DIMENSIONS, FINGERPRINT)
    assert sorted(key for ids, _ in again.export() for key in ids) == sorted(strange)
    assert again.search(unit_rows(6, seed=1)[:1], 3, allowed=strange)[0].ids[0] == strange[0]
    assert again.delete(strange) == 6


@pytest.mark.parametrize("bad", ["x" * 2001, "a\0b", "\ud800"])
def test_ids_that_cannot_be_kept(make: Make, bad: str):
    with pytest.raises(DataError, match="Ids of a pgvector index"):
        make().open(DIMENSIONS, FINGERPRINT).upsert([bad], unit_rows(1, seed=1))


def test_a_newer_manifest_is_refused(make: Make):
    place = make()
    saved(place, 3)
    server = place._server()
    server.set_note(place._name, server.note(place._name).replace('"schema": 1, "index"', '"schema": 9, "index"'))
    with pytest.raises(ArtifactError, match="schema 9"):
        place.open(DIMENSIONS, FINGERPRINT)


def test_a_server_that_is_not_there(make: Make):
    place = make(url="postgresql://reader:hidden@127.0.0.1:9/nowhere", timeout_s=2)
    with pytest.raises(ConnectError, match=r"127\.0\.0\.1") as caught:
        place.open(DIMENSIONS, FINGERPRINT)
    assert "hidden" not in str(caught.value)


def test_a_lost_connection_is_said_and_the_next_call_has_a_new_one(make: Make, url: str):
    place = make()
    index = saved(place, 10)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with pytest.raises(ConnectError, match="on PostgreSQL"):
        index.search(unit_rows(1, seed=1), 1)
    assert index.search(unit_rows(1, seed=1), 1)[0].ids == ["r0"]


@pytest.mark.parametrize(
    "options", [{"url": "mysql://x/y"}, {"url": "help"}, {"name": 'a"; DROP'}, {"m": 1}, {"ef_search": 0}, {"m": 40}]
)
def test_options_that_cannot_be(make: Make, options: dict[str, Any]):
    with pytest.raises(ConfigError):
        make(**options)
