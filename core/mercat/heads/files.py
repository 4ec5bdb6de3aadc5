"""The two files of a head, `head.json` and `head.safetensors`, for heads of every type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mercat.artifacts import load_arrays, save_arrays
from mercat.errors import ArtifactError

SCHEMA = 1


def write_head(folder: Path, type: str, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a head into an existing folder. No pickle."""
    save_arrays(folder / "head.safetensors", dict(arrays))
    text = json.dumps({"schema": SCHEMA, "type": type, **meta}, indent=2, ensure_ascii=False)
    (folder / "head.json").write_text(text, encoding="utf-8")


def read_head(folder: Path, type: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return (what head.json says, the arrays in the shape that was saved).

    Raises ArtifactError when it is missing, damaged or of another type.
    """
    path = folder / "head.json"
    if not path.is_file():
        found = "It has no head.json"
        raise ArtifactError(f"A head of type '{type}' was expected in {folder.name}", found, "mercat artifacts list")
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        schema, kind = meta["schema"], meta["type"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"The head in {folder.name} cannot be read", f"head.json is damaged ({error})", "mercat artifacts rollback"
        ) from error
    if (schema, kind) != (SCHEMA, type):
        raise ArtifactError(
            f"A head of type '{type}', schema {SCHEMA}, was expected",
            f"That in {folder.name} is of type '{kind}', schema {schema}",
            "the name of another artifact: mercat artifacts list",
        )
    return meta, load_arrays(folder / "head.safetensors")
