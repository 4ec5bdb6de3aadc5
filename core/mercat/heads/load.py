"""Read a head from its folder, and refuse vectors of another encoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from mercat.errors import ArtifactError, FingerprintError
from mercat.heads.base import Head
from mercat.heads.files import SCHEMA
from mercat.heads.linear import LinearHead
from mercat.heads.memory import MemoryHead

_TYPES: dict[str, Callable[[Path], Head]] = {"linear": LinearHead.load, "memory": MemoryHead.load}


def load_head(folder: Path) -> Head:
    """Return the head that was saved in `folder`. Raises ArtifactError when it is missing, damaged or newer."""
    path = folder / "head.json"
    if not path.is_file():
        raise ArtifactError(f"A head was expected in {folder.name}", "It has no head.json", "mercat artifacts list")
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        schema, kind = meta["schema"], meta["type"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"The head in {folder.name} cannot be read", f"head.json is damaged ({error})", "mercat artifacts rollback"
        ) from error
    if schema != SCHEMA or kind not in _TYPES:
        raise ArtifactError(
            f"The head in {folder.name} is of type '{kind}', schema {schema}",
            f"This mercat reads {', '.join(_TYPES)}, schema {SCHEMA}",
            "pip install --upgrade mercat",
        )
    return _TYPES[kind](folder)


def require_fingerprint(encoder_fingerprint: str, head: Head) -> None:
    """Raise FingerprintError unless the head was fitted on vectors of this encoder."""
    if encoder_fingerprint != head.fingerprint:
        raise FingerprintError(
            f"The head was fitted on vectors of '{head.fingerprint}'",
            f"The encoder at hand is '{encoder_fingerprint}'",
            "name the head's encoder in mercat.toml, or train the head again with: mercat train",
        )
