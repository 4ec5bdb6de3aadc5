"""The most memory that this process held in a stretch of time, and since it began.

Linux keeps one high-water mark for a process; it is set back where a stretch begins, and what it was before is kept.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock

_PROC = Path("/proc/self")
_CPU = "cpu"
_SET_BACK = "5"  # of the marks in clear_refs: the peak resident set, see proc(5)
_ended: list[Mapping[str, int]] = []
"""The marks, in bytes by device, of each stretch that the next one has ended."""
_lock = Lock()


class Peak:
    """The most memory held from now on. `whole` says that it is that of the whole process, from its beginning.

    That is so where the system does not let the mark be set back. Memory of other processes is not in it.
    """

    def __init__(self) -> None:
        with _lock:
            marks = _marks()
            self.whole = not _set_back()
            if not self.whole:
                _ended.append(marks)
            self._from = len(_ended)
        self.began_mb = self.mb()

    def mb(self, device: str = _CPU) -> float | None:
        """Return it in MB, on CUDA that of the device; None where nobody says."""
        with _lock:
            stretches = [*_ended[self._from :], _marks()]
        found = max(marks.get(device, marks.get(f"{device}:0", 0)) for marks in stretches)
        return found / 2**20 if found else None

    def note(self) -> str:
        """Return what a person should know of the figure; empty where it is what it seems."""
        whole = "Memory is the most that this process held since it began: its mark cannot be set back here"
        return whole if self.whole and self.began_mb is not None else ""


def give_back() -> None:
    """Give memory that is no longer used back to the system, as the C library of Linux keeps much of it."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def own_peak_bytes() -> int:
    """Return the most that this process held since it began, however often a stretch began; 0 if nobody says."""
    with _lock:
        return max([_mark(), *(marks[_CPU] for marks in _ended)])


def _marks() -> dict[str, int]:
    """Return the marks of the stretch that runs: of this process, and of each CUDA device that it uses."""
    found = {_CPU: _mark()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        for number in range(torch.cuda.device_count()):
            found[f"cuda:{number}"] = int(torch.cuda.max_memory_allocated(number))
    return found


def _mark() -> int:
    """Return the mark of this process in bytes; not `ru_maxrss` on Linux, which begins at its parent's size."""
    status = _PROC / "status"
    if status.is_file():
        lines = status.read_text().splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _set_back() -> bool:
    """Set the marks back to what is held now; return whether that of the process could be."""
    try:
        (_PROC / "clear_refs").write_text(_SET_BACK)
    except OSError:
        return False
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        for number in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(number)
    return True
