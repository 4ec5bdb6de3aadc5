"""How many cores this process may really use: affinity and container quotas, not the machine's total."""

from __future__ import annotations

import os
from pathlib import Path

_QUOTA_V2 = Path("/sys/fs/cgroup/cpu.max")
_QUOTA_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_PERIOD_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def cores() -> int:
    """Return the whole cores that this process may use, at least 1.

    The smallest of the scheduler's affinity mask, the control group's quota (rounded up) and, where the user has set
    it, `OMP_NUM_THREADS`.
    """
    found = [_affinity()]
    if (quota := _quota()) is not None:
        found.append(max(1, int(quota + 0.999)))
    if (wanted := os.environ.get("OMP_NUM_THREADS", "").split(",")[0]).isdigit() and int(wanted) > 0:
        found.append(int(wanted))
    return min(found)


def share(workers: int) -> int:
    """Return the threads that each of so many workers should take, so that together they fill the cores once."""
    return max(1, cores() // max(1, workers))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _quota(v2: Path = _QUOTA_V2, v1: Path = _QUOTA_V1, period: Path = _PERIOD_V1) -> float | None:
    """Return the quota of the control group in cores; None where there is none."""
    try:
        if v2.is_file():
            limit, _, length = v2.read_text().strip().partition(" ")
            return None if limit == "max" else int(limit) / int(length or 100_000)
        if v1.is_file() and (microseconds := int(v1.read_text())) > 0:
            return microseconds / int(period.read_text())
    except (OSError, ValueError, ZeroDivisionError):
        return None  # an unreadable quota is no quota: the affinity mask still holds
    return None
