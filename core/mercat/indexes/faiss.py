"""The FAISS index: flat (exact) while small, an HNSW graph when large; on the CPU, or flat on a GPU.

HNSW: Malkov and Yashunin 2018, https://arxiv.org/abs/1603.09320. FAISS: Douze et al. 2024,
https://arxiv.org/abs/2401.08281.
"""

from __future__ import annotations

import math
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.errors import ConfigError, missing_extra
from mercat.indexes import storage
from mercat.indexes.appended import AppendedIndex, Mask, Structures
from mercat.indexes.base import Vectors
from mercat.indexes.kinds import FLAT, FLAT_ROWS, checked_kind
from mercat.indexes.places import FaissPlace
from mercat.indexes.scan import RowNumbers

try:
    import faiss as _faiss
except ImportError as error:
    raise missing_extra("The index backend 'faiss'", "faiss-cpu", "cpu") from error

faiss: Any = _faiss  # its own types do not know what its Python layer adds

BACKEND = "faiss"
_EF_CONSTRUCTION = 64
_GPU_MOST = 2048  # FAISS returns no more per query on a GPU


class Faiss(FaissPlace):
    """What `use = "faiss"` in `[indexes.NAME]` builds; for the options see `open_faiss`."""

    def open(self, dimensions: int, fingerprint: str, *, contents: str = "", fresh: bool = False) -> AppendedIndex:
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
) -> AppendedIndex:
    """Open the FAISS index saved in `folder`, or an empty one if nothing is or if `fresh`.

    `kind` is "auto" (flat up to `flat_rows`, HNSW32 above), "flat" or "HNSW<links>". `device` is "auto", "cpu", "cuda"
    or "cuda:N"; a GPU takes flat only. `ef_search`: how many candidates a graph search keeps; more is slower and finds
    more of the true neighbours.
    """
    chosen, why = choose_device(device, checked_kind(kind))
    index = AppendedIndex(
        dimensions,
        fingerprint,
        structures=_structures(dimensions, chosen, ef_search),
        contents=contents,
        kind=kind if chosen == "cpu" else FLAT,
        flat_rows=flat_rows,
        note="; ".join(part for part in (note, why) if part),
    )
    if not fresh:
        with storage.opened(folder) as stored:
            if stored is not None:
                storage.expect(
                    stored, backend=BACKEND, dimensions=dimensions, fingerprint=fingerprint, contents=contents
                )
                index.load(stored)
    return index


def choose_device(device: str, kind: str) -> tuple[str, str]:
    """Return the device to use and, under "auto", why. ConfigError if what is asked for is not there."""
    gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    fits = kind in ("auto", FLAT)
    if device == "cpu":
        return "cpu", ""
    if device == "auto":
        if gpus and fits:
            return "cuda:0", f"auto: flat on the GPU, FAISS sees {gpus}"
        return "cpu", f"auto: on the CPU, {f'{kind} runs there only' if gpus else 'FAISS sees no GPU'}"
    name, _, number = device.partition(":")
    asked = f"An index of kind '{kind}' on the device '{device}' was asked for"
    if name != "cuda" or not (number or "0").isdigit():
        raise ConfigError(asked, "Known devices: auto, cpu, cuda, cuda:1", 'device = "auto"')
    if not fits:
        raise ConfigError(asked, f"{kind} runs on the CPU only", 'kind = "flat"')
    if int(number or 0) >= gpus:
        raise ConfigError(asked, f"FAISS sees {gpus} GPUs", 'device = "auto", or: pip install "mercat[gpu]"')
    return f"cuda:{int(number or 0)}", ""


class _OnCpu:
    """A FAISS structure in main memory: flat or a graph."""

    def __init__(self, structure: Any, kind: str, ef_search: int) -> None:
        self.kind = kind
        self._structure, self._ef_search = structure, ef_search
        self._unfiltered = None if kind == FLAT else faiss.SearchParametersHNSW(efSearch=ef_search)

    def __len__(self) -> int:
        return int(self._structure.ntotal)

    def add(self, vectors: Vectors) -> None:
        self._structure.add(vectors)

    def take(self, rows: RowNumbers) -> Vectors:
        return _take(self._structure, rows)

    def search(self, queries: Vectors, k: int, *, only: Mask | None) -> tuple[NDArray[np.float32], RowNumbers]:
        scores, rows = self._structure.search(queries, k, params=self._parameters(k, only))
        return scores, rows

    def write(self, path: Path) -> None:
        faiss.write_index(self._structure, str(path))

    def _parameters(self, k: int, only: Mask | None) -> Any:
        """A graph keeps 1/share as many candidates when only a share may be found, or recall falls with the share."""
        if only is None:
            return self._unfiltered
        selector = faiss.IDSelectorBitmap(np.packbits(only, bitorder="little"))
        if self.kind == FLAT:
            return faiss.SearchParameters(sel=selector)
        wide = min(len(self), math.ceil(max(self._ef_search, k) / only.mean()))
        return faiss.SearchParametersHNSW(sel=selector, efSearch=wide)


class _OnGpu:
    """A flat FAISS structure on a GPU. The GPU's working memory is shared: one call at a time."""

    kind = FLAT

    def __init__(self, structure: Any, resources: Any, number: int) -> None:
        self._turn = Lock()
        self._structure = faiss.index_cpu_to_gpu(resources, number, structure)

    def __len__(self) -> int:
        return int(self._structure.ntotal)

    def add(self, vectors: Vectors) -> None:
        with self._turn:
            self._structure.add(vectors)

    def take(self, rows: RowNumbers) -> Vectors:
        with self._turn:
            return _take(self._structure, rows)

    def search(self, queries: Vectors, k: int, *, only: Mask | None) -> tuple[NDArray[np.float32], RowNumbers]:
        """Ask for more than `k` and keep what may come: GPU structures take no filter. May come back with fewer."""
        fetch = k if only is None else math.ceil(2 * k / only.mean())
        with self._turn:
            scores, rows = self._structure.search(queries, min(fetch, len(self), _GPU_MOST))
        if only is None:
            return scores, rows
        dropped = ~only[rows]
        order = np.argsort(dropped, axis=1, kind="stable")
        rows = np.where(dropped, -1, rows)
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)

    def write(self, path: Path) -> None:
        with self._turn:
            on_cpu = faiss.index_gpu_to_cpu(self._structure)
        faiss.write_index(on_cpu, str(path))


def _structures(dimensions: int, device: str, ef_search: int) -> Structures:
    if device == "cpu":
        return Structures(
            BACKEND,
            device,
            "index.faiss",
            new=lambda kind: _OnCpu(_empty(dimensions, kind), kind, ef_search),
            read=lambda path, kind: _OnCpu(faiss.read_index(str(path)), kind, ef_search),
        )
    number, resources = int(device.partition(":")[2]), faiss.StandardGpuResources()
    return Structures(
        BACKEND,
        device,
        "index.faiss",
        new=lambda kind: _OnGpu(_empty(dimensions, FLAT), resources, number),
        read=lambda path, kind: _on_gpu_flat(faiss.read_index(str(path)), resources, number),
    )


def _on_gpu_flat(saved: Any, resources: Any, number: int) -> _OnGpu:
    """Put a saved structure on the GPU; of a graph only its vectors."""
    return _OnGpu(faiss.downcast_index(saved.storage) if hasattr(saved, "storage") else saved, resources, number)


def _empty(dimensions: int, kind: str) -> Any:
    if kind == FLAT:
        return faiss.IndexFlatIP(dimensions)
    graph = faiss.IndexHNSWFlat(dimensions, int(kind.removeprefix("HNSW")), faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = _EF_CONSTRUCTION
    return graph


def _take(structure: Any, rows: RowNumbers) -> Vectors:
    if not len(rows):
        return np.empty((0, structure.d), dtype=np.float32)
    return np.asarray(structure.reconstruct_batch(rows), dtype=np.float32)
