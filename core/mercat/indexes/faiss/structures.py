"""What FAISS builds over the rows of a segment so that a search need not compare with all of them.

Lists (IVF): Jégou et al. 2011, "Product quantization for nearest neighbor search". Graphs (HNSW): Malkov and Yashunin
2018, https://arxiv.org/abs/1603.09320. Rounding (SQ8, PQ, FastScan): André et al. 2015, "Cache locality is not enough".
"""

from __future__ import annotations

import logging
import math
import shutil
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mercat.indexes import bits as sets
from mercat.indexes.base import Vectors
from mercat.indexes.bits import Bits
from mercat.indexes.faiss.effort import Effort, measured
from mercat.indexes.faiss.library import faiss, write_index
from mercat.indexes.kinds import is_rounded
from mercat.indexes.scan import RowNumbers

_log = logging.getLogger(__name__)
_TRAIN_PER_LIST = 40  # vectors: FAISS warns below 39
_TRAIN_STEPS = 8
_EF_CONSTRUCTION = 64
_ALL_LISTS = 0.5  # with a larger share allowed, hardly a list is without an allowed row
_WIDER = 3  # times the lists that are enough on average are ordered first; all only if that was too few
_GPU_MOST = 2048  # FAISS returns no more per query on a GPU

Results = tuple[NDArray[np.float32], RowNumbers]  # scores and rows, both (queries, width), best first, -1 as padding


@dataclass(frozen=True, slots=True)
class Asked:
    """What a structure is asked: for `width` rows, so that the `k` best are among them.

    Of those in `only`, None for all, which are a `share` of its rows. `queries` has shape (queries, dimensions). What
    is put into `memo` is there again when the same filter is.
    """

    queries: Vectors
    k: int
    width: int
    only: Bits | None
    share: float
    memo: dict[str, Any]


class Structure(Protocol):
    """Built once over the rows of a segment, never changed. Searches may run side by side."""

    kind: str
    rounded: bool  # its scores are rounded: candidates have to be compared again

    def search(self, asked: Asked) -> Results:
        """Return the best rows it finds, up to the width. May come back with fewer."""
        ...

    def write(self, path: Path) -> None:
        """Write everything into a file."""
        ...

    def details(self) -> Mapping[str, Any]:
        """Return what `read` needs besides the file, for JSON."""
        ...


class Lists:
    """Rows in lists around centroids; a search compares with the rows of the nearest lists.

    How many lists is measured when it is built: see `effort`. With a filter, lists without an allowed row are passed
    over, so that rows that lie together elsewhere are found as well.
    """

    def __init__(self, kind: str, index: Any, effort: Effort, mapped: Path | None = None) -> None:
        self.kind, self.rounded = kind, is_rounded(kind)
        self._mapped = None if mapped is None else mapped.open("rb")  # stays readable when its version is gone
        if self._mapped is not None:
            weakref.finalize(self, self._mapped.close)
        self._index, self._effort = index, effort
        self._turn = Lock()
        self._unfiltered: dict[int, Any] = {}
        self._rows_by_list: tuple[NDArray[np.int32], Vectors] | None = None

    def search(self, asked: Asked) -> Results:
        probes = self._effort.lists(asked.k, asked.share)
        if asked.only is None:
            if probes not in self._unfiltered:  # to make one takes as long as a tenth of a search
                self._unfiltered[probes] = faiss.SearchParametersIVF(nprobe=probes)
            return self._searched(asked, self._unfiltered[probes])
        selector = faiss.IDSelectorBitmap(asked.only)
        chosen = faiss.SearchParametersIVF(nprobe=probes, sel=selector)
        if asked.share > _ALL_LISTS:
            return self._searched(asked, chosen)
        return self._in_lists_with_rows(asked, asked.only, probes, selector)

    def write(self, path: Path) -> None:
        if self._mapped is None:
            write_index(self._index, path)
            return
        # of mapped lists FAISS would write where they lie, not what they hold
        with self._turn, path.open("wb") as file:
            self._mapped.seek(0)
            shutil.copyfileobj(self._mapped, file)

    def details(self) -> Mapping[str, Any]:
        return self._effort.as_json()

    def _searched(self, asked: Asked, parameters: Any) -> Results:
        scores, rows = self._index.search(asked.queries, asked.width, params=parameters)
        return scores, rows

    def _in_lists_with_rows(self, asked: Asked, only: Bits, probes: int, selector: Any) -> Results:
        """Look into the nearest lists until they hold as many allowed rows as `probes` lists do on average."""
        memo = asked.memo
        allowed, lists, centroids = memo.get("lists") or memo.setdefault("lists", self._allowed(only))
        wanted = probes * allowed.sum() / self._effort.most
        for width in (min(_WIDER * probes, len(lists)), len(lists)):
            near, nearest = faiss.knn(asked.queries, centroids, width, metric=faiss.METRIC_INNER_PRODUCT)
            seen = np.cumsum(allowed[nearest], axis=1)
            if (seen[:, -1] >= wanted).all():
                break
        enough = seen - allowed[nearest] >= wanted  # what came before is enough
        enough[:, :probes] = False
        width = int((~enough).sum(axis=1).max())
        chosen = np.where(enough, -1, lists[nearest])[:, :width]
        parameters = faiss.SearchParametersIVF(nprobe=width, sel=selector)
        near, chosen = (np.ascontiguousarray(each) for each in (near[:, :width], chosen))
        return self._preassigned(asked.queries, asked.width, chosen, near, parameters)

    def _allowed(self, only: Bits) -> tuple[RowNumbers, RowNumbers, Vectors]:
        """Return, of the lists with an allowed row, how many there are in each, their numbers and their centroids."""
        list_of, centroids = self._assigned()
        allowed = np.bincount(list_of[sets.rows_of(only, len(list_of))], minlength=len(centroids))
        lists = np.flatnonzero(allowed)
        return allowed[lists], lists, np.ascontiguousarray(centroids[lists])

    def _preassigned(self, queries: Vectors, k: int, lists: RowNumbers, near: Vectors, parameters: Any) -> Results:
        """FAISS's Python layer takes no parameters here, so this calls what it wraps."""
        scores = np.empty((len(queries), k), dtype=np.float32)
        rows = np.empty((len(queries), k), dtype=np.int64)
        pointers = (faiss.swig_ptr(each) for each in (lists, near, scores, rows))
        self._index.search_preassigned_c(len(queries), faiss.swig_ptr(queries), k, *pointers, False, parameters)
        return scores, rows

    def _assigned(self) -> tuple[NDArray[np.int32], Vectors]:
        """Return the list of each row, and the centroids; read out of the lists when first asked."""
        with self._turn:
            if self._rows_by_list is None:
                self._rows_by_list = _list_of(self._index), _centroids(self._index)
            return self._rows_by_list


class Graph:
    """A graph of near rows. With a filter it keeps 1/share as many candidates, or recall falls with the share."""

    def __init__(self, kind: str, index: Any, ef_search: int) -> None:
        self.kind, self.rounded = kind, is_rounded(kind)
        self._index, self._ef_search = index, ef_search
        self._total = int(index.ntotal)

    def search(self, asked: Asked) -> Results:
        wide = min(self._total, math.ceil(max(self._ef_search, asked.width) / asked.share))
        selector = {} if asked.only is None else {"sel": faiss.IDSelectorBitmap(asked.only)}
        scores, rows = self._index.search(
            asked.queries, asked.width, params=faiss.SearchParametersHNSW(efSearch=wide, **selector)
        )
        return scores, rows

    def write(self, path: Path) -> None:
        write_index(self._index, path)

    def details(self) -> Mapping[str, Any]:
        return {}


class OnGpu:
    """All rows on a GPU, compared whole. Its working memory is shared: one call at a time.

    A call for which its memory is too small comes back with padding alone, so that all is compared on the CPU.
    """

    kind = "flat"
    rounded = False

    def __init__(self, flat: Any, resources: Any, number: int) -> None:
        self._turn = Lock()
        self._index = faiss.index_cpu_to_gpu(resources, number, flat)
        self._total = int(flat.ntotal)

    def search(self, asked: Asked) -> Results:
        """Ask for more than are wanted and keep what may come: GPU structures take no filter."""
        fetch = asked.width if asked.only is None else math.ceil(2 * asked.width / asked.share)
        try:
            with self._turn:
                scores, rows = self._index.search(asked.queries, min(fetch, self._total, _GPU_MOST))
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            _log.warning("%d questions at once are too many for the memory of the GPU", len(asked.queries))
            shape = (len(asked.queries), min(asked.width, self._total))
            return np.full(shape, -np.inf, dtype=np.float32), np.full(shape, -1, dtype=np.int64)
        if asked.only is None:
            return scores, rows
        dropped = (rows < 0) | ~sets.has(asked.only, np.maximum(rows, 0))
        order = np.argsort(dropped, axis=1, kind="stable")[:, : asked.width]
        rows = np.where(dropped, -1, rows)
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)

    def write(self, path: Path) -> None:
        with self._turn:
            on_cpu = faiss.index_gpu_to_cpu(self._index)
        write_index(on_cpu, path)

    def details(self) -> Mapping[str, Any]:
        return {}


def out_of_memory(error: RuntimeError) -> bool:
    """Say whether FAISS failed because a GPU has too little memory: it has no error of its own for that."""
    said = str(error).lower()
    return "out of memory" in said or "alloc fail" in said


def built(kind: str, vectors: Vectors, *, ef_search: int, threads: int) -> Structure:
    """Build the structure of a factory string over vectors of shape (rows, dimensions), on so many threads.

    The number of threads is that of the calling thread alone.
    """
    faiss.omp_set_num_threads(threads)
    index = faiss.index_factory(vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    if kind.startswith("HNSW"):
        index.hnsw.efConstruction = _EF_CONSTRUCTION
        index.train(vectors)
        index.add(vectors)
        return Graph(kind, index, ef_search)
    index.cp.niter, index.cp.min_points_per_centroid = _TRAIN_STEPS, 1
    index.cp.max_points_per_centroid = _TRAIN_PER_LIST
    if hasattr(index, "pq"):
        index.pq.cp.min_points_per_centroid = 1
    index.train(_sampled(vectors, max(_TRAIN_PER_LIST * index.nlist, 10_000)))
    index.add(vectors)
    return Lists(kind, index, measured(vectors, _centroids(index), _list_of(index)))


def read(kind: str, path: Path, details: Mapping[str, Any], *, ef_search: int) -> Structure:
    """Map a structure that was written; nothing is loaded before it is searched."""
    mapped = faiss.IO_FLAG_MMAP if kind.startswith("IVF") and "x4fs" not in kind else faiss.IO_FLAG_MMAP_IFC
    index = faiss.read_index(str(path), mapped)
    if kind.startswith("HNSW"):
        return Graph(kind, index, ef_search)
    lists = faiss.downcast_InvertedLists(index.invlists)
    if hasattr(lists, "prefetch_nthread"):
        lists.prefetch_nthread = 0  # FAISS would start 32 threads for every search
    return Lists(kind, index, Effort.of(details), path if mapped == faiss.IO_FLAG_MMAP else None)


def _sampled(vectors: Vectors, most: int) -> Vectors:
    if len(vectors) <= most:
        return vectors
    rows = np.sort(np.random.default_rng(len(vectors)).choice(len(vectors), most, replace=False))
    return np.ascontiguousarray(vectors[rows])


def _list_of(index: Any) -> NDArray[np.int32]:
    lists, found = index.invlists, np.zeros(index.ntotal, dtype=np.int32)
    for number in range(index.nlist):
        if size := lists.list_size(number):
            ids = lists.get_ids(number)
            found[faiss.rev_swig_ptr(ids, size)] = number
            lists.release_ids(number, ids)
    return found


def _centroids(index: Any) -> Vectors:
    return np.asarray(index.quantizer.reconstruct_n(0, index.nlist), dtype=np.float32)
