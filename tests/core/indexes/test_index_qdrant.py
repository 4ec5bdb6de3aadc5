"""The index in Qdrant, in the client's local mode; what a server is sent is looked at on its way."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mercat.errors import ArtifactError, ConfigError, ConnectError
from mercat.testing.indexes import DIMENSIONS, FINGERPRINT, IndexContract, names, unit_rows

pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")
from qdrant_client.http.exceptions import UnexpectedResponse

from mercat.indexes.servers import lease
from mercat.indexes.servers.qdrant import Qdrant, point_of

Make = Callable[..., Qdrant]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Qdrant] = []

    def one(**options: Any) -> Qdrant:
        made.append(Qdrant(tmp_path, "help", **{"path": ":memory:", **options}))
        return made[-1]

    yield one
    for place in made:
        place.close()


class TestQdrant(IndexContract):
    @pytest.fixture(autouse=True)
    def _local(self, make: Make) -> None:
        self.make = make

    def factory(self, folder: Path) -> Qdrant:
        return self.make()


def saved(place: Qdrant, rows: int, *, sequence: int = 7):
    index = place.open(DIMENSIONS, FINGERPRINT)
    index.upsert(names(rows), unit_rows(rows, seed=1))
    index.sequence = sequence
    index.save(place.folder)
    return index


def test_a_save_that_is_cut_off_says_so_and_the_same_changes_again_make_it_whole(make: Make, monkeypatch):
    """Rows are sent, the manifest is not: who opens it stands at the old sequence and gets the changes again."""
    place = make()
    index = saved(place, 50)

    def changes(into: Any) -> None:
        into.upsert(["later", "r1"], unit_rows(2, seed=9))
        into.delete(["r0"])
        into.sequence = 8

    changes(index)
    server = place._server()
    real, calls = server.set_note, iter([True, False])
    with monkeypatch.context() as patch:
        patch.setattr(server, "set_note", lambda *note: real(*note) if next(calls) else (_ for _ in ()).throw(OSError))
        with pytest.raises(OSError):
            index.save(place.folder)
    again = place.open(DIMENSIONS, FINGERPRINT)
    stored = place.stored()
    assert (again.sequence, stored.sequence, stored.rows) == (7, 7, 50)
    assert "change 8 is going on or was cut off" in again.info().note == stored.note
    changes(again)
    again.save(place.folder)
    whole = place.open(DIMENSIONS, FINGERPRINT)
    assert (len(whole), whole.sequence, whole.info().note) == (50, 8, "")
    assert sorted(key for ids, _ in whole.export() for key in ids) == sorted([*names(49, start=1), "later"])
    assert whole.search(unit_rows(2, seed=9), 1)[1].ids == ["r1"]


KILLED = """
    import os, sys
    from mercat.indexes.servers.qdrant import Qdrant
    from mercat.testing.indexes import DIMENSIONS, FINGERPRINT, names, unit_rows
    from pathlib import Path

    place = Qdrant(Path(sys.argv[1]), "help")
    index = place.open(DIMENSIONS, FINGERPRINT)
    index.upsert(names(40), unit_rows(40, seed=1))
    index.sequence = 7
    index.save(place.folder)
    index.upsert(names(20, start=30), unit_rows(20, seed=2))
    index.sequence = 9
    write = place._server().set_note
    place._server().set_note = lambda name, text: write(name, text) if '"unfinished": 9' in text else os._exit(9)
    index.save(place.folder)
"""


def test_a_process_that_is_killed_between_the_rows_and_the_manifest(tmp_path: Path):
    died = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)], env=os.environ, check=False)
    assert died.returncode == 9
    place = Qdrant(tmp_path, "help")
    index = place.open(DIMENSIONS, FINGERPRINT)
    assert (index.sequence, place.stored().rows) == (7, 40)
    index.upsert(names(20, start=30), unit_rows(20, seed=2))
    index.sequence = 9
    index.save(place.folder)
    again = place.open(DIMENSIONS, FINGERPRINT)
    assert (len(again), again.sequence, place.stored().rows) == (50, 9, 50)
    assert [one.ids[0] for one in again.search(unit_rows(20, seed=2), 1)] == names(20, start=30)
    place.close()


def test_a_fresh_one_has_a_collection_of_its_own_and_the_old_one_goes_after_the_switch(make: Make):
    place = make()
    old = saved(place, 20)
    (before,) = _collections(place)
    fresh = place.open(DIMENSIONS, FINGERPRINT, fresh=True)
    fresh.upsert(names(30), unit_rows(30, seed=1))
    assert _collections(place) == [before]
    fresh.save(place.folder)
    (after,) = _collections(place)
    assert after != before
    assert len(old.search(unit_rows(1, seed=2), 100)[0].ids) == 30


def test_two_processes_with_the_same_changes_find_nothing_twice(make: Make):
    """One saves what the other has taken in for its searches; then it saves more than that."""
    place = make()
    saved(place, 20)
    writer, reader = place.open(DIMENSIONS, FINGERPRINT), place.open(DIMENSIONS, FINGERPRINT)
    for index in (reader, writer):
        index.upsert(["new", "r1"], unit_rows(2, seed=5))
        index.delete(["r2"])
        index.sequence = 9
    writer.save(place.folder)
    for allowed in (None, [*names(20), "new"]):
        (found,) = reader.search(unit_rows(1, seed=5), 50, allowed=allowed)
        assert sorted(found.ids) == sorted({*names(20), "new"} - {"r2"})
        assert found.eligible == len(reader) == 20
    assert reader.outdated()
    writer.upsert(["newer"], unit_rows(1, seed=6))
    writer.sequence = 10
    writer.save(place.folder)
    reader.upsert(["newest"], unit_rows(1, seed=7))
    assert (len(reader), reader.sequence, len(reader._staged)) == (22, 10, 1)
    assert len(reader.search(unit_rows(1, seed=5), 50)[0].ids) == 22


def test_one_that_is_ahead_of_another_process_keeps_its_changes(make: Make):
    place = make()
    saved(place, 20)
    writer, reader = place.open(DIMENSIONS, FINGERPRINT), place.open(DIMENSIONS, FINGERPRINT)
    reader.upsert(["new", "later"], unit_rows(2, seed=5))
    reader.sequence = 9
    writer.upsert(["new"], unit_rows(1, seed=5))
    writer.sequence = 8
    writer.save(place.folder)
    reader.delete(["r2"])
    assert (len(reader), reader.sequence) == (21, 9)
    assert len(set(reader.search(unit_rows(1, seed=5), 50)[0].ids)) == 21


def test_a_change_after_another_process_has_built_it_anew_goes_on_in_the_new_one(make: Make):
    place = make()
    reader = saved(place, 20)
    fresh = place.open(DIMENSIONS, FINGERPRINT, fresh=True)
    fresh.upsert(names(30), unit_rows(30, seed=1))
    fresh.sequence = 11
    fresh.save(place.folder)
    reader.upsert(["new"], unit_rows(1, seed=5))
    assert (len(reader), reader.sequence) == (31, 11)


def test_ids_of_every_kind(make: Make):
    strange = ["", " ", "a/b?c=d&e", "'\"\\\n", "字" * 2000]
    index = saved(make(), 3)
    index.upsert(strange[1:], unit_rows(4, seed=4))
    assert index.search(unit_rows(4, seed=4), 1, allowed=strange)[3].ids == [strange[4]]
    assert point_of("a") != point_of("b")


def test_a_second_process_cannot_open_a_local_one(make: Make, tmp_path: Path):
    saved(make(path=str(tmp_path / "here")), 3)
    with pytest.raises(ArtifactError, match="Another process has it open"):
        make(path=str(tmp_path / "here")).open(DIMENSIONS, FINGERPRINT)


def test_a_server_that_is_not_there(make: Make):
    with pytest.raises(ConnectError, match=r"at http://127.0.0.1:9.*does not answer"):
        make(path="", url="http://127.0.0.1:9", timeout_s=1).open(DIMENSIONS, FINGERPRINT)


def test_a_wrong_key_and_other_answers_of_a_server(make: Make, monkeypatch):
    place = make()
    server = place._server()
    for status, said in ((401, "does not take the api_key"), (403, "does not take"), (500, "answers 500 Broken: why")):
        error = UnexpectedResponse(status, "Broken", b"why", None)
        monkeypatch.setattr(server.client, "retrieve", lambda *_, error=error, **__: (_ for _ in ()).throw(error))
        with pytest.raises(ConnectError, match=said):
            place.open(DIMENSIONS, FINGERPRINT)


def test_a_server_is_told_when_to_compare_every_row(make: Make, monkeypatch):
    """Local mode compares always; here it is taken for a server, and what it is asked is looked at."""
    place = make(flat_rows=100, ef_search=77)
    index = saved(place, 150)
    index._table._server.local = False
    asked: list[Any] = []
    real = index._table._client.query_batch_points

    def ask(name: str, requests: Any) -> Any:
        asked.extend(SimpleNamespace(params=one.params, filter=one.filter) for one in requests)
        return real(name, [one.model_copy(update={"params": None}) for one in requests])

    monkeypatch.setattr(index._table._client, "query_batch_points", ask)
    assert not index.search(unit_rows(1, seed=2), 3)[0].exact
    assert index.search(unit_rows(1, seed=2), 3, allowed=names(90))[0].exact
    assert not index.search(unit_rows(1, seed=2), 90, allowed=names(120))[0].exact
    assert [(one.params.exact, one.params.hnsw_ef) for one in asked] == [(False, 77), (True, None), (False, 90)]
    assert len(asked[1].filter.must[0].has_id) == 90


def test_a_url_and_a_path(make: Make):
    with pytest.raises(ConfigError, match="a url and a path"):
        make(url="http://x")


class Notes:
    """A server that keeps notes and nothing else."""

    backend = "qdrant"

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}

    def note(self, name: str) -> str | None:
        return self.notes.get(name)

    def set_note(self, name: str, text: str) -> None:
        self.notes[name] = text

    def drop_note(self, name: str) -> None:
        del self.notes[name]


def test_a_lease_is_had_by_one_and_ends():
    server, now = Notes(), [1000.0]

    def held(**more: Any):
        return lease.leased(server, "help", "help", settle_s=0, clock=lambda: now[0], **more)

    with held(lease_s=60):
        with pytest.raises(ArtifactError, match="ends in 60 s"), held():
            pass
        now[0] += 61  # nobody renewed it: its holder is dead
        with held():
            pass
    assert not server.notes


def test_a_lease_is_renewed():
    server = Notes()
    with lease.leased(server, "help", "help", lease_s=0.3, settle_s=0):
        first = dict(server.notes)
        for _ in range(100):
            time.sleep(0.02)
            if server.notes != first:
                break
        assert server.notes != first


def test_of_two_that_begin_together_the_first_steps_back(monkeypatch):
    server = Notes()
    monkeypatch.setattr(lease.time, "sleep", lambda _: lease._take(server, "help/writer", "another", 9e9))
    with pytest.raises(ArtifactError, match="Another process"), lease.leased(server, "help", "help"):
        pass


def _collections(place: Qdrant) -> list[str]:
    return [name for name in place._server().tables() if name.startswith(place._name)]
