"""`mercat demo` says what it cost; the whole of it runs in the CI."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import mercat.cli.demo
from mercat.cli.usage import family_bytes, measured
from mercat.compute.memory import own_peak_bytes

linux = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="memory of children is read from /proc")
HOLD = "import time; held = bytearray(150_000_000); print('held', flush=True); time.sleep(60)"


def test_the_report_holds_time_and_memory(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mercat.cli.demo, "installed_verticals", lambda: iter(()))
    asked = ("demo", "--folder", str(tmp_path / "demo"))
    said = run(*asked, "--json").json
    report = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert report == {name: said[name] for name in ("results", "wall_s", "peak_memory_gb")}
    assert report["results"] == {}
    assert 0 <= report["wall_s"] < 60
    assert 0.01 < report["peak_memory_gb"] < 20
    assert "GB of memory" in run(*asked).out


@linux
def test_memory_of_a_child_counts_and_stays_counted_when_it_has_ended() -> None:
    before = own_peak_bytes() / 1e9
    with measured(every_s=0.02) as usage:
        child = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        together = family_bytes() / 1e9
        time.sleep(0.2)
        child.kill()
        child.communicate()
    assert family_bytes() / 1e9 < together - 0.14
    assert usage.peak_memory_gb is not None
    assert usage.peak_memory_gb >= round(together, 3) - 0.005
    assert usage.peak_memory_gb < before + 0.4
    assert 0.2 <= usage.wall_s < 30


def test_one_vertical_may_be_chosen_by_its_name(run: Any, tmp_path: Path) -> None:
    assert [each.name for each in mercat.cli.demo.chosen_verticals(())] == list(mercat.cli.demo.VERTICALS)
    (chosen,) = mercat.cli.demo.chosen_verticals(["recommendation"])
    assert chosen.name == "recommendation"
    failed = run("demo", "--only", "recomendation", "--folder", tmp_path / "demo")
    assert failed.code == 1
    assert "No vertical named 'recomendation'. Did you mean 'recommendation'?" in failed.err
    assert not (tmp_path / "demo").exists()
