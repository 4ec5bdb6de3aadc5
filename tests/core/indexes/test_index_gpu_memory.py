"""A GPU whose memory is too small, played by FAISS's own words for it: nothing is lost, and what happens is said."""

import numpy as np
import pytest

from mercat.errors import ArtifactError
from mercat.indexes.faiss import open_faiss, structures
from mercat.testing.indexes import names, unit_rows

WIDTH = 16
FULL = "Error in virtual void* StandardGpuResourcesImpl::allocMemory: alloc fail type FlatData size 1 (cudaMalloc error out of memory [2])"


class Card:
    """A flat index as one on a GPU: without filters, and with memory for so many questions at once."""

    def __init__(self, flat, questions):
        self.flat, self.questions = flat, questions

    def search(self, queries, k):
        if len(queries) > self.questions:
            raise RuntimeError(FULL)
        return self.flat.search(queries, k)


@pytest.fixture
def gpu(monkeypatch):
    """Return a function that lets FAISS see a GPU that holds so many rows and answers so many questions at once."""

    def put(rows, *, questions=1000, error=FULL):
        def to_gpu(resources, number, flat):
            if flat.ntotal > rows:
                raise RuntimeError(error)
            return Card(flat, questions)

        monkeypatch.setattr(structures.faiss, "StandardGpuResources", object, raising=False)
        monkeypatch.setattr(structures.faiss, "get_num_gpus", lambda: 1, raising=False)
        monkeypatch.setattr(structures.faiss, "index_cpu_to_gpu", to_gpu, raising=False)

    return put


def opened(folder, **options):
    index = open_faiss(folder, dimensions=WIDTH, fingerprint="f", tail_rows=64, **options)
    index.upsert(names(400), unit_rows(400, seed=1, dimensions=WIDTH))
    index.compact()
    return index


def test_rows_that_do_not_fit_are_compared_on_the_cpu_and_it_is_said(gpu, tmp_path, caplog):
    gpu(100)
    index = opened(tmp_path)
    assert "400 rows of 16 numbers do not fit into the memory of cuda:0" in index.info().note
    assert "they are compared on the CPU" in caplog.text
    found = index.search(unit_rows(400, seed=1, dimensions=WIDTH)[:20], 3)
    assert [one.ids[0] for one in found] == names(20)
    assert all(one.exact for one in found)
    index.save(tmp_path)


def test_a_gpu_that_was_named_is_not_left_in_silence(gpu, tmp_path):
    gpu(100)
    with pytest.raises(ArtifactError, match=r"do not fit into the memory of cuda:0.*device = \"cpu\""):
        opened(tmp_path, device="cuda:0")


def test_too_many_questions_at_once_are_answered_all_the_same(gpu, tmp_path, caplog):
    gpu(1000, questions=8)
    index, queries = opened(tmp_path), unit_rows(400, seed=1, dimensions=WIDTH)
    few, many = index.search(queries[:8], 3), index.search(queries[:50], 3)
    assert "50 questions at once are too many" in caplog.text
    assert [one.ids for one in many[:8]] == [one.ids for one in few]
    np.testing.assert_allclose([one.scores for one in many[:8]], [one.scores for one in few], atol=1e-6)
    assert all(one.exact for one in many)
    filtered = index.search(queries[:50], 3, allowed=names(300, start=50))
    assert all(len(one.ids) == 3 and one.eligible == 300 for one in filtered)


def test_other_errors_of_a_gpu_are_no_lack_of_memory(gpu, tmp_path):
    gpu(100, error="CUDA error 700: an illegal memory access was encountered")
    with pytest.raises(RuntimeError, match="illegal memory access"):
        opened(tmp_path)
