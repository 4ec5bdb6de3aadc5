"""Where the index of a config section lives."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mercat.errors import ConfigError
from mercat.indexes import log, storage
from mercat.indexes.base import IndexInfo
from mercat.indexes.kinds import FLAT_ROWS, TAIL_ROWS, checked_kind


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
        found = storage.read_manifest(self._folder, also=_with_log)
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

    def writing(self) -> AbstractContextManager[None]:
        """Hold the right to bring the index up to date; see `IndexFactory.writing`."""
        return storage.writing(self._folder)


class FaissPlace(Place):
    """A place with the options of FAISS, checked before FAISS is loaded; for their meaning see `open_faiss`.

    Raises ConfigError for options that no index can have.
    """

    def __init__(
        self,
        workspace_folder: Path,
        section_name: str,
        *,
        kind: str = "auto",
        device: str = "auto",
        flat_rows: int = FLAT_ROWS,
        ef_search: int = 64,
        tail_rows: int = TAIL_ROWS,
    ) -> None:
        super().__init__(workspace_folder, section_name)
        for name, given, least in (
            ("flat_rows", flat_rows, 0),
            ("ef_search", ef_search, 1),
            ("tail_rows", tail_rows, 16),
        ):
            if given < least:
                raise ConfigError(f"{name} = {given}", f"It is at least {least}", f"{name} = {least}")
        self._options: dict[str, Any] = {
            "kind": checked_kind(kind),
            "device": device,
            "flat_rows": flat_rows,
            "ef_search": ef_search,
            "tail_rows": tail_rows,
        }


def _with_log(manifest: storage.Manifest, version: Path) -> storage.Manifest:
    """Return a manifest as it is after the log beside it."""
    if manifest.schema != storage.SEGMENTS_SCHEMA:
        return manifest
    try:
        for mark in log.marks(version / log.FILE):
            manifest = replace(manifest, sequence=mark.sequence, rows=mark.rows)
    except (log.Torn, OSError) as error:
        raise storage.broken(version / log.FILE, f"{log.FILE}: {error}") from error
    return manifest
