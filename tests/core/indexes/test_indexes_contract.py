"""Every backend keeps the contract, in every kind that it chooses by itself."""

from pathlib import Path
from typing import Any, ClassVar

import pytest

from mercat.indexes.auto import Auto
from mercat.indexes.exact import Exact
from mercat.testing.indexes import IndexContract


class TestExact(IndexContract):
    def factory(self, folder: Path) -> Exact:
        return Exact(folder, "help")


class WithFaiss(IndexContract):
    options: ClassVar[dict[str, Any]] = {}

    def factory(self, folder: Path):
        pytest.importorskip("faiss", reason="faiss-cpu is not installed")
        from mercat.indexes.faiss import Faiss

        return Faiss(folder, "help", **self.options)


class TestFaissFlat(WithFaiss):
    options: ClassVar[dict[str, Any]] = {"kind": "flat", "device": "cpu"}


class TestFaissInSegments(WithFaiss):
    options: ClassVar[dict[str, Any]] = {"kind": "flat", "device": "cpu", "tail_rows": 16}


class TestFaissGraph(WithFaiss):
    exact = False
    options: ClassVar[dict[str, Any]] = {"kind": "HNSW16", "device": "cpu", "tail_rows": 16}


class TestFaissLists(WithFaiss):
    exact = False
    options: ClassVar[dict[str, Any]] = {"kind": "IVF", "device": "cpu", "tail_rows": 16}


class TestFaissRounded(WithFaiss):
    exact = False
    options: ClassVar[dict[str, Any]] = {"kind": "int8", "device": "cpu", "tail_rows": 16}


class TestFaissGrowsIntoLists(WithFaiss):
    exact = False
    options: ClassVar[dict[str, Any]] = {"flat_rows": 100, "device": "cpu", "tail_rows": 16}


class TestAuto(IndexContract):
    def factory(self, folder: Path) -> Auto:
        return Auto(folder, "help", device="cpu")


@pytest.mark.gpu
class TestFaissOnAGpu(WithFaiss):
    options: ClassVar[dict[str, Any]] = {"device": "cuda"}

    def factory(self, folder: Path):
        faiss = pytest.importorskip("faiss", reason="FAISS is not installed")
        if not (hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus()):
            pytest.skip("FAISS sees no GPU")
        return super().factory(folder)


del WithFaiss
