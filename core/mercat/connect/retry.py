"""When to try again, and how long to wait before."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
PASSING = frozenset({429, 502, 503, 504})


def may_repeat(method: str, *, has_key: bool) -> bool:
    """Tell whether sending a request twice has the effect of once (RFC 9110, 9.2.2), or an Idempotency-Key says so."""
    return method.upper() in IDEMPOTENT or has_key


def retry_after_s(value: str, *, now: datetime) -> float | None:
    """Seconds to wait by a `Retry-After` header: a number or an HTTP date (RFC 9110, 10.2.3); None if it is neither."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())


def backoff_s(attempt: int, *, base_s: float, cap_s: float, random: random.Random) -> float:
    """Exponential back-off with equal jitter: between half and all of `base_s * 2**attempt`, at most `cap_s`."""
    full = min(cap_s, base_s * 2.0 ** min(attempt, 32))
    return full / 2 + random.uniform(0.0, full / 2)


class Pace:
    """Keeps the requests to one host at least `interval_s` apart, across threads."""

    def __init__(self, interval_s: float, monotonic: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._interval_s, self._monotonic, self._sleep = interval_s, monotonic, sleep
        self._free_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def wait(self, host: str) -> None:
        """Sleep until it is this caller's turn."""
        if self._interval_s <= 0:
            return
        with self._lock:
            now = self._monotonic()
            start = max(now, self._free_at.get(host, now))
            self._free_at[host] = start + self._interval_s
        if start > now:
            self._sleep(start - now)
