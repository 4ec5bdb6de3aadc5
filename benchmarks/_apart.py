"""Do something in a process of its own, so that its memory is its own as well."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def apart(act: Callable[..., dict[str, Any]], *given: Any, **named: Any) -> dict[str, Any]:
    """Return what `act` returns, with `peak_memory_gb` of the fresh process that did it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, act, given, named).result()


def _measured(act: Callable[..., dict[str, Any]], given: Any, named: Any) -> dict[str, Any]:
    found = act(*given, **named)
    return {**found, "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}
