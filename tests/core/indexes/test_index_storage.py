"""Saves survive kills, and what is broken is refused with a way out."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from mercat.errors import ArtifactError
from mercat.indexes import storage
from mercat.indexes.auto import open_index
from mercat.indexes.exact import Exact, ExactIndex, open_exact
from mercat.testing.indexes import names, unit_rows

KILLS = 16
SAVER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import numpy as np
    from mercat.indexes.auto import open_index

    folder, backend = Path(sys.argv[1]), sys.argv[2]
    index = open_index(backend, folder, dimensions=64, fingerprint="f")
    print("ready", index.sequence, flush=True)
    while True:
        value = index.sequence + 1
        vectors = np.zeros((2000, 64), dtype=np.float32)
        vectors[:, value % 64] = 1.0
        index.upsert([f"r{n}" for n in range(2000)], vectors)
        index.sequence = value
        index.save(folder)
        print(value, flush=True)
    """
)


def test_killed_at_any_moment_the_old_or_the_new_opens(tmp_path):
    """All rows of save n hold the same unit vector number n mod 64, so a mixture would show."""
    draw = random.Random(5)
    confirmed = 0
    for _ in range(KILLS // 2):
        confirmed = max(confirmed, save_until_killed(tmp_path, "exact", after_s=draw.uniform(0.01, 0.25)))
        index = open_index("exact", tmp_path, dimensions=64, fingerprint="f")
        assert index.sequence in (confirmed, confirmed + 1), "a confirmed save was lost"
        confirmed = index.sequence
        if confirmed:
            ((_, vectors),) = index.export(batch=5000)
            assert len(vectors) == 2000
            assert (vectors[:, confirmed % 64] == 1.0).all()
    assert confirmed > KILLS // 2, "too few saves for the kills to mean anything"


def save_until_killed(folder: Path, backend: str, *, after_s: float) -> int:
    """Run the saver, kill it hard `after_s` seconds after it is ready, return the last save that it confirmed."""
    process = subprocess.Popen(
        [sys.executable, "-c", SAVER, str(folder), backend],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    last = int(process.stdout.readline().removeprefix("ready"))
    last = int(process.stdout.readline() or last)  # one save, however busy the machine is
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0].splitlines()
    return int(rest[-1]) if rest else last


@pytest.mark.parametrize("fail_at", range(24))
def test_a_failure_at_each_step_of_a_save_leaves_old_or_new(tmp_path, monkeypatch, fail_at):
    old = ExactIndex(8, "f")
    old.upsert(names(5), unit_rows(5, seed=1, dimensions=8))
    old.sequence = 1
    old.save(tmp_path)
    old.upsert(names(9), unit_rows(9, seed=2, dimensions=8))
    old.sequence = 2
    with monkeypatch.context() as patch:
        steps = failing_after(patch, fail_at)
        try:
            old.save(tmp_path)
        except OSError as error:
            assert "power cut" in str(error)
    again = open_exact(tmp_path, dimensions=8, fingerprint="f")
    assert (again.sequence, len(again)) in [(1, 5), (2, 9)]
    old.save(tmp_path)
    assert open_exact(tmp_path, dimensions=8, fingerprint="f").sequence == 2
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1, "leftovers of the failed save"
    if fail_at == 0:
        assert steps, "the save takes none of the steps that this test breaks"


def failing_after(patch, calls: int) -> list[str]:
    """Make call number `calls` of the functions that touch the disk fail, and every one after it."""
    seen: list[str] = []

    def breaking(owner, name):
        real = getattr(owner, name)

        def step(*args, **kwargs):
            seen.append(name)
            if len(seen) > calls:
                raise OSError("power cut")
            return real(*args, **kwargs)

        patch.setattr(owner, name, step)

    breaking(storage.os, "fsync")
    breaking(storage.tempfile, "mkdtemp")
    for name in ("rename", "replace", "write_text"):
        breaking(Path, name)
    return seen


@pytest.fixture
def saved(tmp_path):
    index = ExactIndex(8, "f")
    index.upsert(names(5), unit_rows(5, seed=1, dimensions=8))
    index.save(tmp_path / "indexes" / "help")
    return tmp_path / "indexes" / "help"


def reopen(folder: Path):
    return open_exact(folder, dimensions=8, fingerprint="f")


@pytest.mark.parametrize("name", ["vectors.npy", "ids.json"])
def test_a_flipped_byte_is_noticed(saved, name):
    (path,) = saved.glob(f"0*/{name}")
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=rf"{name} is not what was saved.*mercat index build --anew"):
        reopen(saved)


@pytest.mark.parametrize("name", ["vectors.npy", "manifest.json"])
def test_a_missing_file_is_noticed(saved, name):
    next(saved.glob(f"0*/{name}")).unlink()
    with pytest.raises(ArtifactError, match=name):
        reopen(saved)


def test_a_newer_schema_is_refused(saved):
    (path,) = saved.glob("0*/manifest.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))
    with pytest.raises(ArtifactError, match="schema is 99"):
        reopen(saved)


@pytest.mark.parametrize("text", ["", "../elsewhere", "0000009"])
def test_a_pointer_to_nowhere_is_refused(saved, text):
    (saved / "current").write_text(text)
    with pytest.raises(ArtifactError, match="broken"):
        reopen(saved)


def test_a_manifest_that_names_a_file_elsewhere_is_refused(saved, tmp_path):
    (tmp_path / "secret").write_text("x")
    (path,) = saved.glob("0*/manifest.json")
    data = json.loads(path.read_text())
    data["files"]["../../../secret"] = {"bytes": 1, "sha256": "0"}
    path.write_text(json.dumps(data))
    with pytest.raises(ArtifactError, match="missing"):
        reopen(saved)


def test_a_folder_without_a_finished_save_is_empty(tmp_path):
    (tmp_path / ".building-x").mkdir()
    (tmp_path / "0000001").mkdir()
    assert len(reopen(tmp_path)) == 0


def test_two_processes_saving_at_once_leave_one_whole_save(tmp_path):
    savers = [
        subprocess.Popen(
            [sys.executable, "-c", SAVER, str(tmp_path), "exact"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        )
        for _ in range(2)
    ]
    for saver in savers:
        saver.stdout.readline()
    opened = 0
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        index = open_index("exact", tmp_path, dimensions=64, fingerprint="f")
        if index.sequence:
            ((_, vectors),) = index.export(batch=5000)
            assert (vectors[:, index.sequence % 64] == 1.0).all()
            opened += 1
    for saver in savers:
        saver.kill()
        saver.communicate()
    assert opened > 2


def test_the_place_is_in_the_workspace(tmp_path):
    assert Exact(tmp_path, "help").folder == tmp_path / "indexes" / "help"
