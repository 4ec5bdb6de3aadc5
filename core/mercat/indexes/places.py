"""Where the index of a config section lives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mercat.indexes import storage
from mercat.indexes.base import IndexInfo
from mercat.indexes.kinds import FLAT_ROWS, checked_kind


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


class FaissPlace(Place):
    """A place with the options of FAISS, checked before FAISS is loaded; for their meaning see `open_faiss`."""

    def __init__(
        self,
        workspace_folder: Path,
        section_name: str,
        *,
        kind: str = "auto",
        device: str = "auto",
        flat_rows: int = FLAT_ROWS,
        ef_search: int = 64,
    ) -> None:
        super().__init__(workspace_folder, section_name)
        self._options: dict[str, Any] = {
            "kind": checked_kind(kind),
            "device": device,
            "flat_rows": flat_rows,
            "ef_search": ef_search,
        }
