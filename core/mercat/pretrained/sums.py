"""Hashes of files too large to be read twice."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

_hashes: dict[tuple[str, int, int], str] = {}
_hashing = threading.Lock()


def sha256(path: Path) -> str:
    """Return the hash of a file; that of an unchanged file (path, size, time of change) is remembered."""
    stat = path.stat()
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    with _hashing:
        if key not in _hashes:
            with path.open("rb") as file:
                _hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return _hashes[key]
