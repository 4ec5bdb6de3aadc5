"""How long a command took and how much memory it held, children included."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_EVERY_S = 0.5
_PROC = Path("/proc")


@dataclass(slots=True)
class Usage:
    """Filled when the block ends: wall seconds, and the most memory that was resident at one moment (GB, 10^9 bytes).

    Memory is that of this process and all below it. Pages that several of them share count in each, so the figure is
    never too low by sharing. Where there is no /proc it is that of this process alone, and None where not even that is
    known.
    """

    wall_s: float = 0.0
    peak_memory_gb: float | None = None


@contextmanager
def measured(*, every_s: float = _EVERY_S) -> Iterator[Usage]:
    """Measure what runs in the block; memory of children is looked at each `every_s` seconds."""
    from mercat.compute.memory import own_peak_bytes

    usage, done, peaks = Usage(), threading.Event(), [0]
    started = time.monotonic()

    def watch() -> None:
        while not done.wait(every_s):
            peaks[0] = max(peaks[0], family_bytes())

    watching = threading.Thread(target=watch, name="mercat-usage", daemon=True)
    watching.start()
    try:
        yield usage
    finally:
        done.set()
        watching.join()
        usage.wall_s = round(time.monotonic() - started, 1)
        peak = max(peaks[0], family_bytes(), own_peak_bytes())
        usage.peak_memory_gb = round(peak / 1e9, 3) if peak else None


def family_bytes() -> int:
    """Return what this process and all below it hold resident now; 0 where there is no /proc."""
    waiting, total = ["self"], 0
    while waiting:
        process = waiting.pop()
        total += _status_bytes(process, "VmRSS")
        waiting += _children(process)
    return total


def _children(process: str) -> list[str]:
    found: list[str] = []
    try:
        for task in (_PROC / process / "task").iterdir():
            found += (task / "children").read_text().split()
    except OSError:  # it has ended meanwhile, or the system does not list children
        pass
    return found


def _status_bytes(process: str, field: str) -> int:
    try:
        lines = (_PROC / process / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)
