"""artifact.json: read, and the files beside it compared with what it says."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from mercat.artifacts.files import sha256
from mercat.errors import ArtifactError

SCHEMA = 1
_KEYS = (
    "kind",
    "recipe",
    "provider",
    "config",
    "encoder_fingerprint",
    "data_digest",
    "seed",
    "metrics",
    "details",
    "files",
)
FILE = "artifact.json"


def read(folder: Path, name: str, version: str) -> dict[str, Any]:
    """Return what artifact.json says. Raises ArtifactError when it is damaged or of another schema."""
    try:
        meta = json.loads((folder / FILE).read_text())
        schema = meta["schema"]
        if schema == SCHEMA:
            datetime.fromisoformat(meta["created_at"])
            _ = [meta[key] for key in _KEYS], meta["files"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"Artifact '{name}' version {version} cannot be read",
            f"{FILE} is missing" if isinstance(error, FileNotFoundError) else f"{FILE} is damaged ({error})",
            _cure(name),
        ) from error
    if schema != SCHEMA:
        raise ArtifactError(
            f"Artifact '{name}' version {version} has schema {schema}",
            f"This mercat reads schema {SCHEMA}",
            "pip install --upgrade mercat",
        )
    return dict(meta)


def check_files(folder: Path, sums: dict[str, str], name: str) -> None:
    """Compare every file with its sha256. Raises ArtifactError for one that is missing, changed or outside."""
    for relative, expected in sums.items():
        path = (folder / relative).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ArtifactError(
                f"Artifact '{name}' names the file {relative}", "It lies outside its folder", _cure(name)
            )
        if not path.is_file() or sha256(path) != expected:
            found = "Its contents have changed" if path.is_file() else "It is missing"
            raise ArtifactError(f"Artifact '{name}' needs its file {relative}", found, _cure(name))


def _cure(name: str) -> str:
    return f"mercat artifacts rollback {name}, or mercat train {name}"
