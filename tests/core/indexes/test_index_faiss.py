"""What is FAISS's own: kinds, filters, dead rows and merges at a size where structures answer; devices."""

import json
from pathlib import Path

import numpy as np
import pytest

from mercat.errors import ArtifactError, ConfigError, FingerprintError
from mercat.indexes import storage
from mercat.indexes.exact import ExactIndex
from mercat.testing.indexes import names, unit_rows

pytest.importorskip("faiss", reason="faiss-cpu is not installed")

from mercat.indexes.faiss import Faiss, choose_device, open_faiss

ROWS, WIDTH = 6000, 24
KINDS = ["HNSW16", "IVF", "int8", "pq"]


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


def made(folder: Path, **options):
    return open_faiss(folder, dimensions=WIDTH, fingerprint="f", device="cpu", **{"kind": "IVF", **options})


@pytest.fixture(scope="module")
def saved(vectors, tmp_path_factory):
    """Folders with an index of each kind."""
    folders = {}
    for kind in KINDS:
        folders[kind] = tmp_path_factory.mktemp("index")
        index = made(folders[kind], kind=kind)
        index.upsert(names(ROWS), vectors)
        index.sequence = 9
        index.save(folders[kind])
    return folders


def recall(found, true) -> float:
    return float(np.mean([len(set(a.ids) & set(b.ids)) / max(1, len(b.ids)) for a, b in zip(found, true, strict=True)]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [1.0, 0.9, 0.5, 0.36])
def test_a_filtered_search_finds_as_much_as_an_unfiltered_one(saved, truth, vectors, kind, share):
    index = made(saved[kind], kind=kind)
    allowed = frozenset(key for key in names(ROWS) if int(key[1:]) % 100 < 100 * share)
    for _ in range(2):  # the second time the filter is remembered
        found = index.search(vectors[:100], 10, allowed=allowed)
        assert recall(found, truth.search(vectors[:100], 10, allowed=allowed)) >= 0.97
        assert all(set(one.ids) <= allowed and one.eligible == len(allowed) for one in found)
        assert sum(one.exact for one in found) <= 5, "a few are found again, where a sample shows that one was missed"


@pytest.mark.parametrize("kind", KINDS)
def test_a_filter_of_rows_that_lie_together_elsewhere_is_found(saved, truth, vectors, kind):
    """Allowed are the 2500 rows farthest from the question: what a structure finds is shown wrong by a sample."""
    index = made(saved[kind], kind=kind)
    far = np.argsort(vectors @ vectors[0])[:2500]
    allowed = frozenset(f"r{row}" for row in far)
    (found,), (true,) = (each.search(vectors[:1], 10, allowed=allowed) for each in (index, truth))
    assert recall([found], [true]) >= 0.9
    assert found.eligible == 2500


def test_few_allowed_rows_are_compared_one_by_one_and_it_says_so(saved, truth, vectors):
    found = made(saved["IVF"]).search(vectors[:20], 10, allowed=names(500))
    assert all(one.exact for one in found)
    assert [one.ids for one in found] == [one.ids for one in truth.search(vectors[:20], 10, allowed=names(500))]


@pytest.mark.parametrize("kind", KINDS)
def test_dead_rows_never_come_back_and_recall_stays(saved, vectors, kind):
    index, rest = made(saved[kind], kind=kind), ExactIndex(WIDTH, "f")
    rest.upsert(names(ROWS), vectors)
    for gone in (names(600), names(550, start=2500)):
        assert index.delete(gone) == rest.delete(gone) == len(gone)
        found, true = index.search(vectors[:100], 10), rest.search(vectors[:100], 10)
        assert all(len(one.ids) == 10 and not set(one.ids) & set(gone) for one in found)
        assert recall(found, true) >= 0.97


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_vectors_as_they_came(saved, truth, vectors, kind):
    """Rounding structures only propose: what they found is compared again."""
    index = made(saved[kind], kind=kind)
    for found, true in zip(index.search(vectors[:20], 5), truth.search(vectors[:20], 5), strict=True):
        scores = dict(zip(true.ids, true.scores, strict=True))
        assert [one for one in found.ids if one in scores]
        assert all(
            score == pytest.approx(scores.get(key, score), abs=1e-5)
            for key, score in zip(found.ids, found.scores, strict=True)
        )


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_mapped_and_is_the_same(saved, vectors, kind):
    index = made(saved[kind], kind=kind)
    (view,) = index.snapshot.views
    assert (len(index), index.sequence, view.live) == (ROWS, 9, ROWS)
    assert view.segment.kind != "flat"
    exported = {key: row for ids, rows in index.export(batch=512) for key, row in zip(ids, rows, strict=True)}
    np.testing.assert_array_equal(np.stack([exported[key] for key in names(ROWS)]), vectors)


def test_a_cluster_that_died_does_not_starve_the_search(saved, truth, vectors):
    """All near neighbours of a query are deleted: the search has to look past them, and k still come back."""
    near = list(truth.search(vectors[:1], 400)[0].ids)
    for kind in KINDS:
        index = made(saved[kind], kind=kind)
        index.delete(near)
        (found,) = index.search(vectors[:1], 50)
        assert len(found.ids) == 50
        assert not set(found.ids) & set(near)


def test_a_search_wider_than_a_structure_looks_is_complete(saved, vectors):
    for kind in KINDS:
        (found,) = made(saved[kind], kind=kind).search(vectors[:1], ROWS)
        assert sorted(found.ids) == sorted(names(ROWS))


def test_beyond_a_fifth_of_dead_rows_a_segment_is_built_anew(tmp_path):
    index = made(tmp_path, tail_rows=64)
    index.upsert(names(1000), unit_rows(1000, seed=1, dimensions=WIDTH))
    index.compact()
    (before,) = index.snapshot.views
    assert index.delete(names(200)) == 200
    index.settle()
    assert [view.segment for view in index.snapshot.views] == [before.segment], "a fifth is not more than a fifth"
    index.delete(names(1, start=200))
    index.settle()
    (after,) = index.snapshot.views
    assert (len(after.segment), after.dead, len(index)) == (799, 0, 799)


def test_what_is_written_while_a_merge_builds_is_not_lost(tmp_path, monkeypatch):
    from mercat.indexes.faiss import index as room

    index, real = made(tmp_path, tail_rows=64), room.merging.merged
    meanwhile: list[int] = []

    def building(views, **options):
        if not meanwhile:
            meanwhile.append(index.delete(["r3", "r5"]))
            index.upsert(["r7", "new"], unit_rows(2, seed=8, dimensions=WIDTH))
        return real(views, **options)

    monkeypatch.setattr(room.merging, "merged", building)
    index.upsert(names(600), unit_rows(600, seed=1, dimensions=WIDTH))
    index.settle()
    assert meanwhile == [2]
    assert any(view.segment.kind != "flat" for view in index.snapshot.views)
    (found,) = index.search(unit_rows(1, seed=8, dimensions=WIDTH), 600)
    assert len(index) == 599
    assert sorted(found.ids) == sorted(set(names(600)) - {"r3", "r5"} | {"new"})
    assert index.search(unit_rows(2, seed=8, dimensions=WIDTH), 1)[0].ids == ["r7"]


def test_a_merge_that_fails_says_so_when_waited_for(tmp_path, monkeypatch):
    from mercat.indexes.faiss import index as room

    monkeypatch.setattr(room.merging, "merged", lambda views, **options: (_ for _ in ()).throw(MemoryError("no room")))
    index = made(tmp_path, tail_rows=64)
    index.upsert(names(600), unit_rows(600, seed=1, dimensions=WIDTH))
    with pytest.raises(MemoryError, match="no room"):
        index.settle()
    assert index.search(unit_rows(600, seed=1, dimensions=WIDTH)[5:6], 1)[0].ids == ["r5"]


def test_segments_stay_few_however_small_the_calls(tmp_path):
    index = made(tmp_path, tail_rows=32)
    rows = unit_rows(2000, seed=1, dimensions=WIDTH)
    for start in range(0, 2000, 20):
        index.upsert(names(20, start=start), rows[start : start + 20])
    index.settle()
    assert len(index) == 2000
    assert len(index.snapshot.views) <= 8
    assert "in the tail" in index.info().note
    found = index.search(rows[::50], 1)
    assert [one.ids[0] for one in found] == names(2000)[::50]


def test_auto_grows_into_lists_and_back(tmp_path):
    index = made(tmp_path, kind="auto", flat_rows=500, tail_rows=64)
    index.upsert(names(500), unit_rows(500, seed=1, dimensions=WIDTH))
    index.settle()
    assert (index.info().kind, "auto: flat" in index.info().note) == ("flat", True)
    index.upsert(names(500, start=500), unit_rows(500, seed=2, dimensions=WIDTH))
    index.settle()
    assert (index.info().kind, len(index)) == ("IVF,PQ", 1000)
    assert "auto: IVF,PQ, lists of short codes" in index.info().note
    index.delete(names(760))
    index.settle()
    assert (index.info().kind, len(index)) == ("flat", 240)


def test_a_changed_kind_in_the_config_is_built_on_opening(tmp_path):
    first = made(tmp_path, kind="flat", tail_rows=64)
    first.upsert(names(400), unit_rows(400, seed=1, dimensions=WIDTH))
    first.save(tmp_path)
    assert first.info().kind == "flat"
    again = made(tmp_path, kind="HNSW16", tail_rows=64)
    assert (again.info().kind, len(again)) == ("HNSW16", 400)
    assert [view.segment.kind for view in again.snapshot.views] == ["HNSW16,Flat"]


@pytest.mark.parametrize("graph", [False, True])
def test_the_first_format_is_read_and_written_anew(tmp_path, vectors, graph):
    import faiss

    def old(path):
        index = faiss.IndexHNSWFlat(WIDTH, 8, faiss.METRIC_INNER_PRODUCT) if graph else faiss.IndexFlatIP(WIDTH)
        index.add(vectors[:300])
        faiss.write_index(index, str(path))

    ids = [None if row in (4, 9) else key for row, key in enumerate(names(300))]
    storage.write(
        tmp_path,
        storage.Manifest("faiss", "HNSW8" if graph else "flat", WIDTH, 298, "f", 7, "documents of help"),
        {"index.faiss": old, "ids.json": lambda path: path.write_text(json.dumps(ids))},
    )
    index = made(tmp_path, kind="auto", contents="documents of help")
    assert (len(index), index.sequence) == (298, 7)
    assert "first format" in index.info().note
    assert index.search(vectors[10:11], 1)[0].ids == ["r10"]
    index.sequence = 8
    index.save(tmp_path)
    again = made(tmp_path, kind="auto")
    assert (len(again), again.sequence, "first format" in again.info().note) == (298, 8, False)
    assert not list(tmp_path.glob("0*/ids.json"))


def test_what_auto_chose_is_said(tmp_path):
    index = open_faiss(tmp_path, dimensions=WIDTH, fingerprint="f")
    assert "auto" in index.info().note


def test_an_exact_index_is_not_opened_as_faiss(tmp_path, truth, saved):
    truth.save(tmp_path)
    with pytest.raises(ArtifactError, match="saved as 'exact'"):
        made(tmp_path)
    with pytest.raises(FingerprintError):
        open_faiss(saved["IVF"], dimensions=WIDTH, fingerprint="other", device="cpu")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "tree"}, "Known: auto, flat"),
        ({"kind": "IVF,"}, "Known: auto, flat"),
        ({"kind": "IVF,PQ7x4fs"}, "cannot build 'IVF4,PQ7x4fs'"),
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
