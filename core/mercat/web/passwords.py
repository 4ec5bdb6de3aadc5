"""Passwords: Argon2id with little memory, about 50 to 250 ms a try on one core, so that guessing is slow."""

from __future__ import annotations

import threading
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mercat.errors import AccessError

MIN_LENGTH, MAX_LENGTH = 10, 256

_HASHER = PasswordHasher(time_cost=4, memory_cost=19 * 1024, parallelism=1)
"""19 MiB as in the OWASP password storage sheet, four passes instead of its two: 95 ms measured on a shared core."""

_AT_ONCE = threading.Semaphore(2)


def hash_password(password: str) -> str:
    """Return the Argon2 string of a password. Raises AccessError when it is too short or too long."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise AccessError(
            "This password", f"It has {len(password)} characters", f"one of {MIN_LENGTH} to {MAX_LENGTH} characters"
        )
    with _AT_ONCE:
        return _HASHER.hash(password)


def verify_password(password: str, stored: str | None) -> bool:
    """Return whether the password fits. With None (no such account) it takes as long and returns False."""
    with _AT_ONCE:
        try:
            fits = _HASHER.verify(stored or _nobody(), password[:MAX_LENGTH])
        except (VerificationError, InvalidHashError):
            return False
    return fits and stored is not None


@lru_cache(maxsize=1)
def _nobody() -> str:
    return _HASHER.hash("nobody has this password")
