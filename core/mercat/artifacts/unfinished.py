"""Folders of artifacts in the making: locked as long as their process lives, removed when it was killed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mercat.errors import ArtifactError

PREFIX = ".new-"


@contextmanager
def unfinished(parent: Path) -> Iterator[Path]:
    """Make a folder in `parent` that nobody takes for abandoned during the block; an exception removes it."""
    folder, handle = _claim(parent)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        if handle is not None:
            os.close(handle)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep every other process out of a folder during the block. Raises ArtifactError when one is in there.

    A process that is killed lets go. Where the system or the disk knows no locks, nobody is kept out.
    """
    handle = None if sys.platform == "win32" else _open(folder)
    try:
        try:
            if handle is not None:
                _lock(handle, wait=False)
        except BlockingIOError as error:
            raise ArtifactError(
                f"'{folder.name}' is to be trained",
                f"Another process is training it: it holds {folder}",
                "wait for it, or end it",
            ) from error
        except OSError:  # a disk without locks
            pass
        yield
    finally:
        if handle is not None:
            os.close(handle)


def remove_abandoned(root: Path) -> None:
    """Remove what killed processes left in the making under any name: the folders whose lock is free.

    The lock tells, not the process number in the name: containers that share a disk do not see each other's
    processes. Where the system or the disk knows no locks nothing is removed.
    """
    for folder in root.glob(f"*/{PREFIX}*"):
        with suppress(OSError):  # locked, published at this moment, or removed by somebody else
            handle = _open(folder)
            try:
                if _lock(handle, wait=False):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def _claim(parent: Path) -> tuple[Path, int | None]:
    """Make a folder and lock it. Before the lock another process may find it and remove it: then once more."""
    while True:
        folder = parent / f"{PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
        folder.mkdir()
        if sys.platform == "win32":
            return folder, None
        try:
            handle = _open(folder)
        except FileNotFoundError:
            continue
        with suppress(OSError):  # a disk without locks: nobody removes anything there
            _lock(handle, wait=True)
        if folder.exists():
            return folder, handle
        os.close(handle)


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY)


def _lock(handle: int, *, wait: bool) -> bool:
    """Take the lock of a folder and say whether there are locks; OSError when it is held and not waited for."""
    if sys.platform == "win32":
        return False
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    return True
