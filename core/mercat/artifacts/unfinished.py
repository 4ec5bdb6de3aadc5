"""Folders of artifacts in the making."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def unfinished(parent: Path) -> Iterator[Path]:
    """Make a folder in `parent` that an exception in the block removes."""
    folder = parent / f".new-{os.getpid()}-{os.urandom(4).hex()}"
    folder.mkdir()
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
