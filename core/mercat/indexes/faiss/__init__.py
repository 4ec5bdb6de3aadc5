"""The FAISS index: segments that are compared whole while small, lists or graphs when large; or flat on a GPU."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from mercat.compute.threads import cores
from mercat.errors import ArtifactError, ConfigError
from mercat.indexes import storage
from mercat.indexes.base import Vectors
from mercat.indexes.faiss import saving, structures
from mercat.indexes.faiss.index import BACKEND, SegmentedIndex
from mercat.indexes.faiss.library import faiss
from mercat.indexes.faiss.merging import Build, Read
from mercat.indexes.kinds import FLAT, FLAT_ROWS, TAIL_ROWS, checked_kind, factory
from mercat.indexes.places import FaissPlace

_log = logging.getLogger(__name__)


class Faiss(FaissPlace):
    """What `use = "faiss"` in `[indexes.NAME]` builds; for the options see `open_faiss`."""

    def open(self, dimensions: int, fingerprint: str, *, contents: str = "", fresh: bool = False) -> SegmentedIndex:
        """Open the saved index, or an empty one; see `IndexFactory.open`."""
        return open_faiss(
            self.folder,
            dimensions=dimensions,
            fingerprint=fingerprint,
            contents=contents,
            fresh=fresh,
            **self._options,
        )


def open_faiss(
    folder: Path,
    *,
    dimensions: int,
    fingerprint: str,
    contents: str = "",
    fresh: bool = False,
    note: str = "",
    kind: str = "auto",
    device: str = "auto",
    flat_rows: int = FLAT_ROWS,
    ef_search: int = 64,
    tail_rows: int = TAIL_ROWS,
) -> SegmentedIndex:
    """Open the FAISS index saved in `folder`, or an empty one if nothing is or if `fresh`.

    `kind` is "auto" (flat up to `flat_rows`, then lists of codes of 4 bits for 2 numbers), "flat", or a factory
    string of FAISS: "IVF" or "IVF1024" (lists), "HNSW32" (a graph), either with ",SQ8" (8 bits a number), ",PQ96x4fs"
    (4 bits for 4 numbers) or the like. `device` is "auto", "cpu", "cuda" or "cuda:N"; a GPU takes flat only.
    `ef_search`: how many candidates a graph search keeps; lists measure their effort themselves. `tail_rows`: so many
    rows are written before they are sealed. A saved index of another kind is built anew.
    """
    chosen, why = choose_device(device, checked_kind(kind))
    _can_be_built(kind, dimensions)
    index = SegmentedIndex(
        dimensions,
        fingerprint,
        build=_builder(chosen, ef_search, named=device != "auto"),
        read=_reader(ef_search),
        device=chosen,
        contents=contents,
        kind=kind if chosen == "cpu" else FLAT,
        flat_rows=flat_rows,
        tail_rows=tail_rows,
        note="; ".join(part for part in (note, why) if part),
    )
    if not fresh:
        with storage.opened(folder, later=saving.later) as stored:
            index.base = saving.unwritten(folder)
            if stored is not None:
                storage.expect(
                    stored, backend=BACKEND, dimensions=dimensions, fingerprint=fingerprint, contents=contents
                )
                saving.load(index, stored)
                if stored.manifest.kind != index.kind:
                    index.compact()
    return index


def choose_device(device: str, kind: str) -> tuple[str, str]:
    """Return the device to use and, under "auto", why. ConfigError if what is asked for is not there."""
    gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    flat = kind in ("auto", FLAT)
    if device == "cpu":
        return "cpu", ""
    if device == "auto":
        if gpus and flat:
            return "cuda:0", f"auto: flat on the GPU, FAISS sees {gpus}"
        return "cpu", f"auto: on the CPU, {f'{kind} runs there only' if gpus else 'FAISS sees no GPU'}"
    name, _, number = device.partition(":")
    asked = f"An index of kind '{kind}' on the device '{device}' was asked for"
    if name != "cuda" or not (number or "0").isdigit():
        raise ConfigError(asked, "Known devices: auto, cpu, cuda, cuda:1", 'device = "auto"')
    if not flat:
        raise ConfigError(asked, f"{kind} runs on the CPU only", 'kind = "flat"')
    if int(number or 0) >= gpus:
        raise ConfigError(asked, f"FAISS sees {gpus} GPUs", 'device = "auto", or: pip install "mercat[gpu]"')
    return f"cuda:{int(number or 0)}", ""


def _can_be_built(kind: str, dimensions: int) -> None:
    wanted = factory(checked_kind(kind), rows=1, dimensions=dimensions, smallest=0)
    if wanted in (FLAT, "auto,Flat"):
        return
    try:
        faiss.index_factory(dimensions, wanted)
    except RuntimeError as error:
        asked = f"An index of kind '{kind}' over {dimensions} dimensions was asked for"
        raise ConfigError(asked, f"FAISS cannot build '{wanted}'", 'kind = "auto"') from error


def _builder(device: str, ef_search: int, *, named: bool) -> Build:
    if device != "cpu":
        return OnGpus(int(device.partition(":")[2]), named=named)
    threads = max(1, cores() // 2)  # a build goes on beside searches

    def on_cpu(kind: str, vectors: Vectors) -> structures.Structure | None:
        return None if kind == FLAT else structures.built(kind, vectors, ef_search=ef_search, threads=threads)

    return on_cpu


class OnGpus:
    """Builds on one GPU. Rows that do not fit into its memory stay on the CPU, which `note` says then.

    ArtifactError instead if the GPU was `named` in the configuration.
    """

    def __init__(self, number: int, *, named: bool) -> None:
        self._number, self._named, self._resources = number, named, faiss.StandardGpuResources()
        self.note = ""

    def __call__(self, kind: str, vectors: Vectors) -> structures.Structure | None:
        """Put vectors of shape (rows, dimensions) on the GPU; None if they stay on the CPU."""
        flat = faiss.IndexFlatIP(vectors.shape[1])
        flat.add(vectors)
        try:
            return structures.OnGpu(flat, self._resources, self._number)
        except RuntimeError as error:
            if not structures.out_of_memory(error):
                raise
            found = (
                f"{len(vectors):,} rows of {vectors.shape[1]} numbers do not fit into the memory of cuda:{self._number}"
            )
            if self._named:
                raise ArtifactError(
                    "An index on a GPU", found, 'device = "cpu", where kind = "int8" saves memory'
                ) from error
            self.note = f"on the CPU: {found}"
            _log.warning("%s: they are compared on the CPU", found)
            return None


def _reader(ef_search: int) -> Read:
    def read(kind: str, path: Path, details: Any, /) -> structures.Structure:
        return structures.read(kind, path, details, ef_search=ef_search)

    return read


__all__ = ["Faiss", "choose_device", "open_faiss"]
