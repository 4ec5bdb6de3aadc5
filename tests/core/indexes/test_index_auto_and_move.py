"""Choosing a backend, and moving from one to another."""

import pytest

from mercat.errors import FingerprintError, UnknownName
from mercat.indexes import auto as room
from mercat.indexes import move, open_index
from mercat.indexes.base import Index, IndexFactory
from mercat.indexes.exact import Exact, ExactIndex
from mercat.testing.indexes import names, unit_rows


def filled(rows: int = 2500) -> ExactIndex:
    index = ExactIndex(8, "f")
    index.upsert(names(rows), unit_rows(rows, seed=1, dimensions=8))
    index.sequence = 12
    return index


def opened(folder, backend="auto", **options):
    return open_index(backend, folder, dimensions=8, fingerprint="f", **options)


def test_auto_takes_faiss_and_says_so(tmp_path):
    pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    info = opened(tmp_path).info()
    assert (info.backend, info.kind) == ("faiss", "flat")
    assert "auto: faiss, it is installed" in info.note


def test_auto_without_faiss_is_exact_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "find_spec", lambda name: None)
    info = opened(tmp_path, kind="flat").info()
    assert info.backend == "exact"
    assert info.note == "auto: exact, faiss is not installed"


def test_auto_keeps_what_was_saved(tmp_path):
    filled(10).save(tmp_path)
    index = opened(tmp_path)
    assert (len(index), index.info().note) == (10, "auto: kept exact, as it was saved")


def test_an_unknown_backend(tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'faiss'"):
        opened(tmp_path, "fais")


def test_the_protocols_are_kept(tmp_path):
    assert isinstance(filled(1), Index)
    assert isinstance(Exact(tmp_path, "help"), IndexFactory)


def test_a_move_makes_the_target_the_source_and_a_second_one_changes_nothing(tmp_path):
    pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    source, target = filled(), opened(tmp_path, "faiss", device="cpu")
    target.upsert(["r3", "stale"], unit_rows(2, seed=2, dimensions=8))
    seen: list[tuple[int, int]] = []
    moved = move(source, target, progress=lambda done, total: seen.append((done, total)))
    assert (moved.upserted, moved.unchanged, moved.deleted, target.sequence) == (2500, 0, 1, 12)
    assert seen == [(1000, 2500), (2000, 2500), (2500, 2500)]
    queries = unit_rows(20, seed=3, dimensions=8)
    assert [one.ids for one in target.search(queries, 9)] == [one.ids for one in source.search(queries, 9)]
    again = move(source, target)
    assert (again.upserted, again.unchanged, again.deleted) == (0, 2500, 0)


def test_an_interrupted_move_goes_on_where_it_was():
    source, target = filled(), ExactIndex(8, "f")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(source, target, progress=stop)
    assert (len(target), target.sequence) == (1000, 0)
    assert move(source, target).upserted == 1500


def test_vectors_of_another_encoder_are_not_moved():
    with pytest.raises(FingerprintError, match="other"):
        move(filled(1), ExactIndex(8, "other"))
