"""The most memory of a stretch of time, and of the whole process through all of them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from mercat.compute import memory
from mercat.compute.memory import Peak, give_back, own_peak_bytes

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux sets its mark back")


def hold(megabytes):
    assert np.ones(megabytes * 2**20, dtype=np.uint8).all()


@linux
def test_a_stretch_does_not_hear_of_the_one_before_and_the_process_remembers():
    outer = Peak()
    assert not outer.whole
    assert outer.note() == ""
    hold(200)
    before = outer.mb()
    inner = Peak()
    assert inner.mb() < before - 150
    assert inner.began_mb < before - 150
    hold(50)
    assert inner.began_mb + 45 < inner.mb() < before - 100
    assert outer.mb() == before, "a stretch within it takes nothing away"
    assert own_peak_bytes() >= before * 2**20


@linux
def test_where_the_mark_cannot_be_set_back_it_is_that_of_the_process_and_said(tmp_path, monkeypatch):
    (tmp_path / "status").write_text("VmPeak:\t 900 kB\nVmHWM:\t  204800 kB\n")
    (tmp_path / "clear_refs").mkdir()
    monkeypatch.setattr(memory, "_PROC", tmp_path)
    monkeypatch.setattr(memory, "_ended", [])
    found = Peak()
    assert found.whole
    assert found.mb() == 200
    assert "since it began" in found.note()


def test_without_proc_it_is_what_the_system_says_of_the_process(tmp_path, monkeypatch):
    pytest.importorskip("resource")
    monkeypatch.setattr(memory, "_PROC", tmp_path / "none")
    found = Peak()
    assert found.whole
    assert found.mb() > 1


def test_what_nobody_says_is_none(monkeypatch):
    monkeypatch.setattr(memory, "_PROC", Path("/nowhere"))
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(memory, "_ended", [])
    assert Peak().mb() is None
    assert Peak().note() == ""
    assert own_peak_bytes() == 0


@linux
def test_what_is_no_longer_used_is_given_back():
    """Pieces too small to be mapped alone, with one that stays behind them: the library would keep them all."""

    def held_mb():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    pieces = [bytearray(60_000) for _ in range(4000)]  # 240 MB
    last, before = bytearray(60_000), held_mb()
    del pieces
    give_back()
    assert held_mb() < before - 150
    assert len(last) == 60_000
