"""Where the index of a config section lives."""

from __future__ import annotations

from pathlib import Path

from mercat.indexes import storage
from mercat.indexes.base import IndexInfo


class Place:
    """The folder `indexes/SECTION` of a workspace; the common part of the factories."""

    def __init__(self, workspace_folder: Path, section_name: str) -> None:
        self._folder = workspace_folder / "indexes" / section_name

    @property
    def folder(self) -> Path:
        """Where the index is saved."""
        return self._folder

    def stored(self) -> IndexInfo | None:
        """Say what is saved, without loading it."""
        found = storage.read_manifest(self._folder)
        if found is None:
            return None
        return IndexInfo(
            found.backend,
            found.kind,
            "",
            found.dimensions,
            found.rows,
            found.fingerprint,
            found.sequence,
            contents=found.contents,
        )
