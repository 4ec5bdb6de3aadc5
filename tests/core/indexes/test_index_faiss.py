"""What is FAISS's own: kinds, filters and dead rows at a size where nothing is compared one by one, devices."""

from pathlib import Path

import numpy as np
import pytest

from mercat.errors import ArtifactError, ConfigError, FingerprintError
from mercat.indexes.exact import ExactIndex
from mercat.testing.indexes import names, unit_rows

pytest.importorskip("faiss", reason="faiss-cpu is not installed")

from mercat.indexes.faiss import Faiss, choose_device, open_faiss

ROWS, WIDTH = 12_000, 24


@pytest.fixture(scope="module")
def vectors():
    """Clusters, as texts have."""
    centres = unit_rows(100, seed=1, dimensions=WIDTH)
    drawn = centres[np.random.default_rng(2).integers(0, 100, ROWS)] + 0.6 * unit_rows(ROWS, seed=3, dimensions=WIDTH)
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def truth(vectors):
    index = ExactIndex(WIDTH, "f")
    index.upsert(names(ROWS), vectors)
    return index


def graph(folder: Path, **options):
    return open_faiss(folder, dimensions=WIDTH, fingerprint="f", device="cpu", **{"kind": "HNSW16", **options})


@pytest.fixture(scope="module")
def saved_graph(vectors, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph")
    index = graph(folder)
    index.upsert(names(ROWS), vectors)
    index.save(folder)
    return folder


def recall(found, true) -> float:
    return float(np.mean([len(set(a.ids) & set(b.ids)) / max(1, len(b.ids)) for a, b in zip(found, true, strict=True)]))


@pytest.mark.parametrize("share", [1.0, 0.9, 0.5, 0.36])
def test_a_filtered_graph_search_finds_as_much_as_an_unfiltered_one(saved_graph, truth, vectors, share):
    index = graph(saved_graph)
    allowed = [key for key in names(ROWS) if int(key[1:]) % 100 < 100 * share]
    found = index.search(vectors[:100], 10, allowed=allowed)
    assert recall(found, truth.search(vectors[:100], 10, allowed=allowed)) >= 0.97
    assert all(set(one.ids) <= set(allowed) and one.eligible == len(allowed) for one in found)
    assert not any(one.exact for one in found)


def test_few_allowed_rows_are_compared_one_by_one_and_it_says_so(saved_graph, truth, vectors):
    found = graph(saved_graph).search(vectors[:20], 10, allowed=names(500))
    assert all(one.exact for one in found)
    assert [one.ids for one in found] == [one.ids for one in truth.search(vectors[:20], 10, allowed=names(500))]


def test_dead_rows_never_come_back_and_recall_stays(saved_graph, vectors):
    index, rest = graph(saved_graph), ExactIndex(WIDTH, "f")
    rest.upsert(names(ROWS), vectors)
    for gone in (names(1200), names(1100, start=5000)):
        assert index.delete(gone) == rest.delete(gone) == len(gone)
        found, true = index.search(vectors[:100], 10), rest.search(vectors[:100], 10)
        assert all(len(one.ids) == 10 and not set(one.ids) & set(gone) for one in found)
        assert recall(found, true) >= 0.97


def test_a_cluster_that_died_does_not_starve_the_search(saved_graph, truth, vectors):
    """All near neighbours of a query are deleted: the graph has to walk past them, and k still come back."""
    index = graph(saved_graph)
    near = list(truth.search(vectors[:1], 400)[0].ids)
    index.delete(near)
    (found,) = index.search(vectors[:1], 50)
    assert len(found.ids) == 50
    assert not set(found.ids) & set(near)


def test_a_search_wider_than_the_graph_looks_is_complete(saved_graph, vectors):
    (found,) = graph(saved_graph).search(vectors[:1], ROWS)
    assert sorted(found.ids) == sorted(names(ROWS))


def test_beyond_a_fifth_of_dead_rows_it_is_built_anew(tmp_path):
    index = graph(tmp_path)
    index.upsert(names(1000), unit_rows(1000, seed=1, dimensions=WIDTH))
    index.delete(names(200))
    index.save(tmp_path / "before")
    index.delete(names(1, start=200))
    index.save(tmp_path / "after")
    sizes = [next((tmp_path / name).glob("0*/index.faiss")).stat().st_size for name in ("before", "after")]
    assert sizes[1] < 0.85 * sizes[0]
    assert len(index) == 799


def test_auto_grows_into_a_graph_and_back(tmp_path):
    index = graph(tmp_path, kind="auto", flat_rows=500)
    index.upsert(names(500), unit_rows(500, seed=1, dimensions=WIDTH))
    assert index.info().kind == "flat"
    index.upsert(names(500, start=500), unit_rows(500, seed=2, dimensions=WIDTH))
    assert (index.info().kind, len(index)) == ("HNSW32", 1000)
    index.delete(names(400))
    assert index.info().kind == "HNSW32"
    index.delete(names(360, start=400))
    assert (index.info().kind, len(index)) == ("flat", 240)


def test_a_changed_kind_in_the_config_is_built_on_opening(tmp_path):
    first = graph(tmp_path, kind="flat")
    first.upsert(names(50), unit_rows(50, seed=1, dimensions=WIDTH))
    first.save(tmp_path)
    assert first.info().kind == "flat"
    again = graph(tmp_path, kind="HNSW16")
    assert (again.info().kind, len(again)) == ("HNSW16", 50)


def test_what_auto_chose_is_said(tmp_path):
    index = open_faiss(tmp_path, dimensions=WIDTH, fingerprint="f")
    assert "auto" in index.info().note


def test_an_exact_index_is_not_opened_as_faiss(tmp_path, truth):
    truth.save(tmp_path)
    with pytest.raises(ArtifactError, match="saved as 'exact'"):
        graph(tmp_path)
    with pytest.raises(FingerprintError):
        open_faiss(saved(tmp_path / "faiss"), dimensions=WIDTH, fingerprint="other", device="cpu")


def saved(folder: Path) -> Path:
    graph(folder).save(folder)
    return folder


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "ivf"}, "Known: auto, flat"),
        ({"device": "tpu"}, "Known devices"),
        ({"device": "cuda:99"}, 'device = "auto"'),
        ({"device": "cuda", "kind": "HNSW32"}, "CPU only"),
    ],
)
def test_options_that_cannot_be(tmp_path, options, words):
    with pytest.raises(ConfigError, match=words):
        Faiss(tmp_path, "help", **options).open(WIDTH, "f")


def test_the_device_under_auto(monkeypatch):
    from mercat.indexes import faiss as room

    monkeypatch.setattr(room.faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(room.faiss, "get_num_gpus", lambda: 2)
    assert choose_device("auto", "auto") == ("cuda:0", "auto: flat on the GPU, FAISS sees 2")
    assert choose_device("auto", "HNSW32") == ("cpu", "auto: on the CPU, HNSW32 runs there only")
    assert choose_device("cuda:1", "flat") == ("cuda:1", "")
    monkeypatch.setattr(room.faiss, "get_num_gpus", lambda: 0)
    assert choose_device("auto", "auto") == ("cpu", "auto: on the CPU, FAISS sees no GPU")
