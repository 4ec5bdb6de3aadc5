"""Open an index by the name of its backend; `auto` takes FAISS where it is installed and says what it took."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mercat.errors import unknown_name
from mercat.indexes import exact, storage
from mercat.indexes.base import Index
from mercat.indexes.places import FaissPlace

BACKENDS = ("auto", "exact", "faiss")


class Auto(FaissPlace):
    """What `use = "auto"` in `[indexes.NAME]` builds; the options are those of FAISS and rest while it is missing."""

    def open(self, dimensions: int, fingerprint: str, *, contents: str = "", fresh: bool = False) -> Index:
        """Open the saved index, or an empty one; see `IndexFactory.open`."""
        return open_index(
            "auto",
            self.folder,
            dimensions=dimensions,
            fingerprint=fingerprint,
            contents=contents,
            fresh=fresh,
            **self._options,
        )


def open_index(
    backend: str,
    folder: Path,
    *,
    dimensions: int,
    fingerprint: str,
    contents: str = "",
    fresh: bool = False,
    **options: Any,
) -> Index:
    """Open the index saved in `folder`, or an empty one if nothing is or if `fresh`.

    `backend` is "exact", "faiss" or "auto"; `options` are those of `open_faiss`. "auto" keeps the backend that the
    folder was saved with. UnknownName, MissingExtra, FingerprintError and ArtifactError as in `IndexFactory.open`.
    """
    if backend not in BACKENDS:
        raise unknown_name("index backend", backend, BACKENDS)
    asked: dict[str, Any] = {"dimensions": dimensions, "fingerprint": fingerprint, "contents": contents, "fresh": fresh}
    chosen, why = _choose(folder, fresh) if backend == "auto" else (backend, "")
    if chosen == exact.BACKEND:
        return exact.open_exact(folder, note=why, **asked)
    from mercat.indexes import faiss  # loads FAISS

    return faiss.open_faiss(folder, note=why, **options, **asked)


def _choose(folder: Path, fresh: bool) -> tuple[str, str]:
    saved = None if fresh else storage.read_manifest(folder)
    if saved is not None:
        return saved.backend, f"auto: kept {saved.backend}, as it was saved"
    if find_spec("faiss"):
        return "faiss", "auto: faiss, it is installed"
    return exact.BACKEND, "auto: exact, faiss is not installed"
