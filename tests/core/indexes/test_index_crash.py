"""An index that was killed opens by itself with everything that was confirmed; what is broken is said, never mixed."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mercat.errors import ArtifactError
from mercat.indexes import log
from mercat.testing import crash
from mercat.testing.indexes import names, unit_rows

pytest.importorskip("faiss", reason="faiss-cpu is not installed")

from mercat.indexes.faiss import Faiss, open_faiss

WIDTH = 8


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mercat.testing.crash", str(folder), "--seed", "3", *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )


def confirmed_by(lines: list[str], before: int) -> int:
    done = [int(line.split()[1]) for line in lines if line.startswith(("done", "ready"))]
    return max([before, *done])


def test_killed_at_any_moment_nothing_confirmed_is_lost(tmp_path):
    draw, confirmed = random.Random(5), 0
    for _ in range(5):
        process = start(tmp_path)
        lines = [process.stdout.readline() for _ in range(draw.randint(2, 40))]
        time.sleep(draw.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        confirmed = confirmed_by([*lines, *process.communicate()[0].splitlines()], confirmed)
        assert crash.problem(tmp_path, seed=3, confirmed=confirmed) == ""
        confirmed = crash.opened(tmp_path).sequence
    assert confirmed > 5


@pytest.mark.parametrize("call", [3, 8, 30, 47])
def test_killed_at_a_call_that_touches_the_disk(tmp_path, call):
    process = start(tmp_path, "--die-at", str(call))
    lines = process.communicate(timeout=120)[0].splitlines()
    assert process.returncode == -signal.SIGKILL
    assert lines[-1].startswith("at ")
    assert crash.problem(tmp_path, seed=3, confirmed=confirmed_by(lines, 0)) == ""


def opened(folder: Path, **options):
    return open_faiss(folder, dimensions=WIDTH, fingerprint="f", device="cpu", tail_rows=64, **options)


def upsert(index, count: int, *, start: int = 0, seed: int = 1) -> None:
    index.upsert(names(count, start=start), unit_rows(count, seed=seed, dimensions=WIDTH))


@pytest.fixture
def logged(tmp_path):
    """A folder with a version and three records in its log: of the version itself, of a write, of a delete."""
    index = opened(tmp_path)
    upsert(index, 20)
    index.save(tmp_path)
    for sequence, act in ((1, lambda: upsert(index, 5, start=20)), (2, lambda: index.delete(names(3)))):
        act()
        index.sequence = sequence
        index.save(tmp_path)
    return tmp_path


def log_of(folder: Path) -> Path:
    (path,) = folder.glob("0*/log")
    return path


def test_a_small_save_is_one_record_and_the_version_stays(logged):
    assert [path.name for path in logged.glob("0*")] == ["0000001"]
    assert [mark.sequence for mark in log.marks(log_of(logged))] == [0, 1, 2]
    index = opened(logged)
    assert (len(index), index.sequence) == (22, 2)


def test_what_is_stored_is_known_from_the_log(tmp_path):
    place = Faiss(tmp_path, "help", device="cpu")
    index = place.open(WIDTH, "f")
    upsert(index, 10)
    index.save(place.folder)
    index.delete(["r1"])
    index.sequence = 4
    index.save(place.folder)
    stored = place.stored()
    assert (stored.rows, stored.sequence) == (9, 4)


def test_a_torn_end_of_the_log_is_left_out_and_written_over(logged):
    path = log_of(logged)
    whole = path.read_bytes()
    end = list(log.marks(path))[1].end
    for cut in (end + 1, end + 20, len(whole) - 1):
        path.write_bytes(whole[:cut])
        index = opened(logged)
        assert (index.sequence, len(index)) == (1, 25)
    path.write_bytes(whole[:end] + bytes(500))
    index = opened(logged)
    assert index.sequence == 1
    upsert(index, 1, start=90)
    index.sequence = 5
    index.save(logged)
    assert [mark.sequence for mark in log.marks(path)] == [0, 1, 5]
    assert len(opened(logged)) == 26


def test_a_flipped_bit_anywhere_in_the_log_is_noticed(logged):
    path = log_of(logged)
    whole = path.read_bytes()
    for place in range(0, len(whole), 37):
        spoiled = bytearray(whole)
        spoiled[place] ^= 4
        path.write_bytes(spoiled)
        with pytest.raises(ArtifactError, match=r"log: .*mercat index build --anew"):
            opened(logged)


def test_a_flipped_bit_in_a_segment_is_noticed(tmp_path):
    index = opened(tmp_path, kind="IVF")
    upsert(index, 500)
    index.save(tmp_path)
    files = [path for path in sorted(tmp_path.glob("0*/*")) if path.suffix in (".rows", ".structure", ".text", ".ends")]
    assert len(files) == 4
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        with pytest.raises(ArtifactError, match=f"{path.name} is not what was saved"):
            opened(tmp_path)
        path.write_bytes(whole)
    assert len(opened(tmp_path)) == 500


def test_large_vectors_are_checked_after_opening(tmp_path, monkeypatch):
    from mercat.indexes.faiss import saving

    monkeypatch.setattr(saving, "_CHECKED_AT_ONCE", 100)
    index = opened(tmp_path)
    upsert(index, 200)
    index.save(tmp_path)
    (path,) = tmp_path.glob("0*/*.rows")
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    again = opened(tmp_path)
    until = time.monotonic() + 20
    while again.broken is None and time.monotonic() < until:
        time.sleep(0.01)
    with pytest.raises(ArtifactError, match=r"rows is not what was saved"):
        again.search(unit_rows(1, seed=1, dimensions=WIDTH), 1)


def test_segments_that_stay_are_shared_between_versions(tmp_path):
    index = opened(tmp_path)
    upsert(index, 200)
    index.save(tmp_path)
    (before,) = tmp_path.glob("0*/*.rows")
    number = before.stat().st_ino
    upsert(index, 70, start=200)  # more than the tail holds
    index.save(tmp_path)
    assert number in {path.stat().st_ino for path in tmp_path.glob("0*/*.rows")}
    assert (len(opened(tmp_path)), len(list(tmp_path.glob("0*")))) == (270, 1)


def test_a_second_writer_is_told_and_nothing_is_lost(logged):
    here, there = opened(logged), opened(logged)
    upsert(there, 2, start=50)
    there.sequence = 3
    there.save(logged)
    upsert(here, 2, start=60, seed=2)
    with pytest.raises(ArtifactError, match=r"Another process has written it.*open it again"):
        here.save(logged)
    again = opened(logged)
    assert (again.sequence, len(again)) == (3, 24)
    upsert(again, 200, start=100)  # a new version, not a record
    again.save(logged)
    with pytest.raises(ArtifactError, match="Another process has written it"):
        there.save(logged)


def test_one_process_brings_an_index_up_to_date_at_a_time(tmp_path):
    place = Faiss(tmp_path, "help")
    holder = (
        "import sys; from pathlib import Path; from mercat.indexes.exact import Exact\n"
        "with Exact(Path(sys.argv[1]), 'help').writing(): print('mine', flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    other = subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert other.stdout.readline() == b"mine\n"
    with pytest.raises(ArtifactError, match=r"Another process is writing it.*mercat index build"), place.writing():
        pass
    other.kill()
    other.communicate()
    with place.writing():
        pass


def test_a_full_disk_is_said_and_the_save_before_stays(logged):
    """A limit on the size of files stands for the full disk: the same writes fail, in the middle."""
    index = opened(logged)
    size = log_of(logged).stat().st_size
    for count in (5, 400):  # a record, then a version
        upsert(index, count, start=30)
        index.sequence += 1
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, hard))
        try:
            with pytest.raises(ArtifactError, match=r"There is no room.*untouched.*free some space"):
                index.save(logged)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        there = opened(logged)
        assert (there.sequence, len(there)) == (2, 22)
    index.save(logged)
    assert opened(logged).sequence == index.sequence == 4
    assert not list(logged.glob(".building-*"))


def test_a_failed_write_to_the_disk_is_never_trusted_again(logged, monkeypatch):
    """Once fsync has failed the system may have dropped what it did not write: the next save is a version."""
    index = opened(logged)
    upsert(index, 1, start=70)
    index.sequence = 3
    with monkeypatch.context() as patch:
        patch.setattr(log.os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        with pytest.raises(OSError, match="Input/output"):
            index.save(logged)
    index.save(logged)
    assert [path.name for path in logged.glob("0*")] == ["0000002"]
    assert (opened(logged).sequence, len(opened(logged))) == (3, 23)


def test_parts_that_do_not_fit_each_other_are_refused(tmp_path):
    index = opened(tmp_path)
    upsert(index, 200)
    index.save(tmp_path)
    np.testing.assert_equal(len(opened(tmp_path)), 200)
    manifest = next(tmp_path.glob("0*/manifest.json"))
    manifest.write_text(manifest.read_text().replace('"rows": 200,\n    "live"', '"rows": 199,\n    "live"'))
    with pytest.raises(ArtifactError, match="do not fit"):
        opened(tmp_path)
