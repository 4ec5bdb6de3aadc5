"""Saves of the FAISS index beside other saves: other folders, other processes, failures, damage that is found late."""

import errno
import shutil
import threading

import pytest

from mercat.errors import ArtifactError, ConfigError
from mercat.indexes import storage
from mercat.indexes.places import FaissPlace
from mercat.testing.indexes import names, unit_rows

pytest.importorskip("faiss", reason="faiss-cpu is not installed")

from mercat.indexes.faiss import open_faiss, saving

WIDTH = 16


def opened(folder, **options):
    return open_faiss(folder, dimensions=WIDTH, fingerprint="f", device="cpu", **options)


def put(index, ids, *, seed=0, sequence=None):
    index.upsert(ids, unit_rows(len(ids), seed=seed, dimensions=WIDTH))
    if sequence is not None:
        index.sequence = sequence


@pytest.mark.parametrize("kind", ["flat", "IVF", "IVF,SQ8", "IVF,PQ", "HNSW16"])
def test_an_opened_index_is_saved_elsewhere_with_all_it_holds(tmp_path, kind):
    home, backup, rows = tmp_path / "home", tmp_path / "backup", unit_rows(3000, seed=1, dimensions=WIDTH)
    index = opened(home, kind=kind)
    index.upsert(names(3000), rows)
    index.settle()
    index.save(home)
    opened(home, kind=kind).save(backup)
    shutil.rmtree(home)
    copy = opened(backup, kind=kind)
    found = copy.search(rows[:20], 1)
    assert [each.ids[0] for each in found] == names(3000)[:20]
    copy.save(home)
    assert len(opened(home, kind=kind)) == 3000


@pytest.mark.parametrize("kind", ["flat", "IVF", "HNSW16"])
def test_rows_that_were_rewritten_before_the_first_save_are_saved_once(tmp_path, kind):
    index = opened(tmp_path, kind=kind)
    for seed in range(3):
        put(index, names(10), seed=seed)
    index.save(tmp_path)
    assert len(opened(tmp_path, kind=kind)) == 10


def test_one_that_was_opened_before_anything_was_there_sees_what_another_has_saved(tmp_path):
    early, other = opened(tmp_path), opened(tmp_path)
    assert not early.outdated()
    put(other, ["x", "y"], sequence=2)
    other.save(tmp_path)
    assert early.outdated()
    put(early, ["z"], sequence=1)
    with pytest.raises(ArtifactError, match="Another process has written it"):
        early.save(tmp_path)
    assert (len(opened(tmp_path)), opened(tmp_path).sequence) == (2, 2)


def test_a_save_elsewhere_that_fails_does_not_forget_its_home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    index = opened(home)
    put(index, ["x"], sequence=1)
    index.save(home)

    def full(*given, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "add_version", full)
        with pytest.raises(ArtifactError, match="There is no room"):
            index.save(tmp_path / "elsewhere")
    other = opened(home)
    put(other, ["other"], sequence=2)
    other.save(home)
    with pytest.raises(ArtifactError, match="Another process has written it"):
        index.save(home)
    assert len(opened(home)) == 2


def test_a_folder_that_was_removed_and_filled_anew_is_another_one(tmp_path):
    folder = tmp_path / "index"
    mine = opened(folder)
    put(mine, names(50), sequence=50)
    mine.save(folder)
    shutil.rmtree(folder)
    other = opened(folder)
    put(other, ["new"], sequence=51)
    other.save(folder)
    assert mine.outdated()
    put(mine, ["late"], sequence=52)
    with pytest.raises(ArtifactError, match="Another process has written it"):
        mine.save(folder)
    assert (len(opened(folder)), opened(folder).sequence) == (1, 51)


def test_a_failure_after_the_new_version_counts_is_made_good_by_the_next_save(tmp_path, monkeypatch):
    index = opened(tmp_path)
    put(index, ["x"])
    index.save(tmp_path)

    def too_many(*given):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "_remove_all_but", too_many)
        put(index, ["y"])
        index.pending = None  # so that a version is written
        index.save(tmp_path)
    put(index, ["z"])
    index.pending = None
    index.save(tmp_path)
    assert len(opened(tmp_path)) == 3
    assert len([each for each in tmp_path.iterdir() if each.is_dir()]) == 1, "what was left over is gone"


def test_nothing_is_made_of_damaged_rows_before_they_are_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "_CHECKED_AT_ONCE", 1000)
    index = opened(tmp_path)
    put(index, names(3000))
    index.save(tmp_path)
    (path,) = tmp_path.glob("0*/*.rows")
    damaged = bytearray(path.read_bytes())
    damaged[5000:5200] = bytes(200)
    path.write_bytes(damaged)
    checked, go = storage.check_sums, threading.Event()

    def slowly(version, sums):
        if threading.current_thread().name == "mercat-index-check":
            go.wait(10)
        checked(version, sums)

    monkeypatch.setattr(storage, "check_sums", slowly)
    again = opened(tmp_path)
    again.delete(names(3000)[1000:2500])
    threading.Timer(0.3, go.set).start()
    with pytest.raises(ArtifactError, match="rows"):
        again.save(tmp_path)
    with pytest.raises(ArtifactError):
        again.settle()
    assert [each.name for each in tmp_path.glob("0*/*.rows")] == [path.name], "no new version with good sums"


@pytest.mark.parametrize(
    ("options", "found"),
    [({"kind": "IVF0"}, "IVF0"), ({"tail_rows": 3}, "at least 16"), ({"ef_search": 0}, "at least 1")],
)
def test_options_that_cannot_be_are_refused_before_anything_is_written(tmp_path, options, found):
    with pytest.raises(ConfigError, match=found):
        FaissPlace(tmp_path, "help", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("room", "name", "before"),
    [
        (saving.log, "append", False),
        (saving.log, "append", True),
        (saving.storage, "add_version", False),
        (saving.storage, "add_version", True),
    ],
)
def test_an_interrupt_in_a_save_is_made_good_by_the_next_one(tmp_path, monkeypatch, room, name, before):
    """Ctrl-C just before or just after what was written counts: the next save holds all, in this process too."""
    index = opened(tmp_path, kind="flat", tail_rows=64)
    put(index, names(100), seed=1, sequence=1)
    index.save(tmp_path)
    put(index, names(3, start=100) if name == "append" else names(200, start=100), seed=2, sequence=2)
    if name == "add_version":
        index.compact()
    real = getattr(room, name)

    def interrupted(*given, **named):
        if not before:
            real(*given, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(room, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        index.save(tmp_path)
    monkeypatch.setattr(room, name, real)
    assert len(opened(tmp_path, kind="flat", tail_rows=64)) in (100, len(index))
    put(index, ["last"], seed=3, sequence=3)
    index.save(tmp_path)
    again = opened(tmp_path, kind="flat", tail_rows=64)
    assert (len(again), again.sequence) == (len(index), 3)
    queries = unit_rows(5, seed=9, dimensions=WIDTH)
    assert [one.ids for one in again.search(queries, 7)] == [one.ids for one in index.search(queries, 7)]
