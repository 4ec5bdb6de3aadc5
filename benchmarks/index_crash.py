"""Kill a process that writes an index, at random moments and at each call that touches the disk, and look what is left.

A kill counts if it landed between the beginning of a change and the return of its save, or while segments were merged.
`corrupt_or_lost` counts indexes that did not open, or did not hold exactly the changes that were confirmed and at most
the one that was under way. `fault_points_hit` counts different calls, by name and kind of file, that a kill landed in.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._vectors import library
from benchmarks.frame import Context

SUMMARY = "Kills of a process that writes an index: what is corrupt or lost afterwards"
NEEDS: tuple[str, ...] = ()
TAKES = "20 minutes"

_SEED = 29
_KILLS = 160  # at random moments
_CALLS = 120  # the first calls that touch the disk, one kill in each


def run(context: Context) -> None:
    library()
    kills, calls = (6, 6) if context.quick else (_KILLS, _CALLS)
    rows = [
        context.row(["random", start], lambda start=start: _random(start, min(20, kills)))
        for start in range(0, kills, 20)
    ]
    rows += [
        context.row(["calls", start], lambda start=start: _at_calls(start, min(20, calls)))
        for start in range(0, calls, 20)
    ]
    counted = sum(row["kills"] for row in rows)
    context.record("kills", counted)
    context.record("corrupt_or_lost", sum(len(row["problems"]) for row in rows), n=counted)
    context.record("fault_points_hit", len({point for row in rows for point in row["points"]}))
    context.record("kills_while_merging", sum(row["merging"] for row in rows))
    context.note("problems", [problem for row in rows for problem in row["problems"]][:5])
    context.note("fault_points", sorted({point for row in rows for point in row["points"]}))


def _random(start: int, kills: int) -> dict[str, Any]:
    """Kill one writer after the other on one folder, at random moments, until enough kills count."""
    draw, found = random.Random(start), _nothing()
    with tempfile.TemporaryDirectory(prefix="mercat-crash-") as name:
        confirmed = 0
        while found["kills"] < kills:
            process = _started(Path(name))
            lines = [process.stdout.readline() for _ in range(draw.randint(2, 60))]  # type: ignore[union-attr]
            time.sleep(draw.uniform(0, 0.03))
            process.send_signal(signal.SIGKILL)
            lines += process.communicate()[0].splitlines()
            confirmed = _look(Path(name), lines, confirmed, found)
            if confirmed > 400:
                shutil.rmtree(name)
                confirmed = 0
    return found


def _at_calls(start: int, calls: int) -> dict[str, Any]:
    """Kill a writer on a new folder in call number `start` + 1, the next in the one after, and so on."""
    found = _nothing()
    for call in range(start + 1, start + calls + 1):
        with tempfile.TemporaryDirectory(prefix="mercat-crash-") as name:
            process = _started(Path(name), "--die-at", str(call))
            lines = process.communicate()[0].splitlines()
            found["points"] += [line[3:] for line in lines if line.startswith("at ")]
            _look(Path(name), lines, 0, found)
    return found


def _nothing() -> dict[str, Any]:
    return {"kills": 0, "merging": 0, "problems": [], "points": []}


def _look(folder: Path, lines: list[str], confirmed: int, found: dict[str, Any]) -> int:
    """Count a kill, check what it left, and return the change that the index stands at."""
    from mercat.testing import crash

    said = [line.split() for line in lines if line.strip()]
    confirmed = max([confirmed, *(int(words[1]) for words in said if words[0] == "done")])
    last = next((words for words in reversed(said) if words[0] in ("begin", "done")), ["ready"])
    merging = any("merging" in words for words in said[-2:])
    if last[0] == "begin" or merging:
        found["kills"] += 1
        found["merging"] += merging
    if problem := crash.problem(folder, seed=_SEED, confirmed=confirmed):
        found["problems"].append(problem)
        shutil.rmtree(folder)
        return 0
    return crash.opened(folder).sequence


def _started(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mercat.testing.crash", str(folder), "--seed", str(_SEED), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
