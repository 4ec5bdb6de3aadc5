"""FAISS itself. Douze et al. 2024, "The Faiss library", https://arxiv.org/abs/2401.08281."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from mercat.errors import missing_extra

try:
    import faiss as _faiss
except ImportError as error:
    raise missing_extra("The index backend 'faiss'", "faiss-cpu", "cpu") from error

faiss: Any = _faiss  # its own types do not know what its Python layer adds


def write_index(index: Any, path: Path) -> None:
    """Write a FAISS index into a file. Raises OSError, where FAISS says only in words what the system said."""
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        codes = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
        code = next((each for each in codes if os.strerror(each) in str(error)), errno.EIO)
        raise OSError(code, os.strerror(code), str(path)) from error
