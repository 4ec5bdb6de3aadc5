"""The workspace's secret key for cookies and tokens: made on first use, readable by its owner alone."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from mercat.errors import ConfigError


def signing_key(folder: Path) -> bytes:
    """Return the key in `secrets/signing.key` of the workspace folder; two processes that start at once agree on one.

    Raises ConfigError when others may read the file or it is too short to be a key.
    """
    path = folder / "secrets" / "signing.key"
    if not path.exists():
        _create(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        raise ConfigError(f"The signing key {path}", f"Others may read it (mode {mode:o})", f"chmod 600 {path}")
    key = path.read_bytes().strip()
    if len(key) < 32:
        raise ConfigError(f"The signing key {path}", "It is too short", f"rm {path}; a new one is made on start")
    return key


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # unlike a rename, never replaces the key of another process
    except FileExistsError:
        pass
    finally:
        draft.unlink()
