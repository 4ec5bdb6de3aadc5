"""Plain files that are on the disk when the call returns: arrays as safetensors, text, sums."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as safetensors."""
    from safetensors.numpy import save_file

    save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, str(path))


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read named arrays from a safetensors file. Each has the shape and type that it was saved with."""
    from safetensors.numpy import load_file

    return dict(load_file(str(path)))


def plain(value: Any) -> Any:
    """Return dataclasses, mappings, sequences and numpy scalars as what JSON knows."""
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def sha256(path: Path) -> str:
    """Return the sum of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_durably(path: Path, text: str) -> None:
    """Replace a file in one step: a kill leaves the old text or the new one."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}-{os.urandom(4).hex()}")  # threads share the number
    try:
        temporary.write_text(text)
        fsync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync(path.parent)


def fsync(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
