"""The contract of an index: inherit `IndexContract`, say how one is made, and the tests come along."""

from __future__ import annotations

import threading
from abc import abstractmethod
from pathlib import Path

import numpy as np
import pytest

from mercat.errors import ArtifactError, DataError, FingerprintError
from mercat.indexes.base import Allowed, Index, IndexFactory, Vectors
from mercat.testing.contract import Contract

DIMENSIONS = 16
FINGERPRINT = "contract@1"


def unit_rows(rows: int, *, seed: int, dimensions: int = DIMENSIONS) -> Vectors:
    """Return random unit vectors of shape (rows, dimensions)."""
    drawn = np.random.default_rng(seed).standard_normal((rows, dimensions)).astype(np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)


def names(rows: int, *, start: int = 0) -> list[str]:
    """Return ids "r0", "r1", ..."""
    return [f"r{row}" for row in range(start, start + rows)]


class IndexContract(Contract):
    """What every index must do. Set `exact = False` for one that may miss neighbours."""

    exact = True

    @abstractmethod
    def factory(self, folder: Path) -> IndexFactory:
        """Return a factory whose index is saved under `folder`."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> IndexFactory:
        return self.factory(tmp_path)

    @pytest.fixture
    def index(self, place: IndexFactory) -> Index:
        return place.open(DIMENSIONS, FINGERPRINT)

    @pytest.fixture
    def filled(self, index: Index) -> Index:
        index.upsert(names(300), unit_rows(300, seed=1))
        return index

    def test_finds_each_row_by_its_own_vector(self, filled: Index) -> None:
        found = filled.search(unit_rows(300, seed=1), 1)
        assert [one.ids[0] for one in found] == names(300)
        assert all(one.scores[0] == pytest.approx(1.0, abs=1e-5) for one in found)

    def test_neighbours_are_the_true_ones_best_first(self, filled: Index) -> None:
        queries, rows = unit_rows(20, seed=2), unit_rows(300, seed=1)
        truth = np.argsort(-(queries @ rows.T), axis=1)[:, :10]
        found = filled.search(queries, 10)
        shared = [len(set(one.ids) & {f"r{row}" for row in best}) for one, best in zip(found, truth, strict=True)]
        assert np.mean(shared) >= (10 if self.exact else 9.5)
        assert all(list(one.scores) == sorted(one.scores, reverse=True) for one in found)
        assert all(one.eligible == 300 for one in found)

    def test_an_empty_index_finds_nothing(self, index: Index) -> None:
        (found,) = index.search(unit_rows(1, seed=2), 5)
        assert (list(found.ids), list(found.scores), found.eligible, len(index)) == ([], [], 0, 0)
        assert index.delete(["nobody"]) == 0

    def test_no_queries_no_answers(self, filled: Index) -> None:
        assert filled.search(np.empty((0, DIMENSIONS), dtype=np.float32), 3) == []

    def test_more_than_there_are(self, filled: Index) -> None:
        (found,) = filled.search(unit_rows(1, seed=2), 1000)
        assert sorted(found.ids) == sorted(names(300))

    def test_k_below_one_is_refused(self, filled: Index) -> None:
        with pytest.raises(DataError, match="k is 0"):
            filled.search(unit_rows(1, seed=2), 0)

    def test_upsert_replaces(self, filled: Index) -> None:
        filled.upsert(["r7"], unit_rows(1, seed=3))
        assert len(filled) == 300
        assert filled.search(unit_rows(1, seed=3), 1)[0].ids == ["r7"]
        assert "r7" not in filled.search(unit_rows(300, seed=1)[7:8], 1)[0].ids

    def test_the_last_of_an_id_that_comes_twice_counts(self, index: Index) -> None:
        index.upsert(["a", "b", "a"], unit_rows(3, seed=4))
        assert len(index) == 2
        assert index.search(unit_rows(3, seed=4)[2:], 1)[0].ids == ["a"]
        assert index.search(unit_rows(3, seed=4)[:1], 1)[0].scores[0] < 0.99

    def test_deleted_rows_are_gone_at_once(self, filled: Index) -> None:
        assert filled.delete([*names(100), "nobody"]) == 100
        assert len(filled) == 200
        for found in filled.search(unit_rows(50, seed=1), 200):
            assert sorted(found.ids) == sorted(names(200, start=100))

    def test_never_fewer_than_k_while_there_are_k(self, filled: Index) -> None:
        """Deletes and updates in many small steps, up to nearly everything."""
        for step in range(29):
            filled.delete(names(10, start=step * 10))
            filled.upsert(names(5, start=295), unit_rows(5, seed=step))
            for found in filled.search(unit_rows(5, seed=step), 8):
                assert len(found.ids) == min(8, len(filled))
                assert all(int(key[1:]) >= step * 10 + 10 for key in found.ids)

    @pytest.mark.parametrize("share", [0.01, 0.2, 0.9, 1.0])
    def test_only_allowed_rows_and_all_of_them_count(self, filled: Index, share: float) -> None:
        filled.delete(["r0"])
        allowed = [*names(int(300 * share)), "nobody"]
        (found,) = filled.search(unit_rows(1, seed=5), 10, allowed=allowed)
        assert found.eligible == int(300 * share) - 1
        assert len(found.ids) == min(10, found.eligible)
        assert set(found.ids) <= set(allowed) - {"r0"}

    def test_nothing_allowed(self, filled: Index) -> None:
        (found,) = filled.search(unit_rows(1, seed=5), 10, allowed=[])
        assert (list(found.ids), found.eligible) == ([], 0)

    @pytest.mark.parametrize("spoil", ["nan", "infinite", "zero", "wide", "flat", "short"])
    def test_bad_vectors_are_refused_and_change_nothing(self, filled: Index, spoil: str) -> None:
        vectors = unit_rows(3, seed=6)
        if spoil in ("nan", "infinite", "zero"):
            vectors[1] = {"nan": np.nan, "infinite": np.inf, "zero": 0.0}[spoil]
        bad = {"wide": unit_rows(3, seed=6, dimensions=DIMENSIONS + 1), "flat": vectors[0], "short": vectors[:2]}
        before = _rows(filled)
        with pytest.raises(DataError):
            filled.upsert(["r0", "r1", "new"], bad.get(spoil, vectors))
        assert _rows(filled) == before

    def test_bad_queries_are_refused(self, filled: Index) -> None:
        with pytest.raises(DataError, match="only zeros"):
            filled.search(np.zeros((1, DIMENSIONS), dtype=np.float32), 3)
        with pytest.raises(DataError, match=r"shape \(1, 17\)|17"):
            filled.search(unit_rows(1, seed=1, dimensions=17), 3)

    def test_vectors_are_brought_to_length_one(self, index: Index) -> None:
        index.upsert(["long", "short"], np.array([[5.0] * DIMENSIONS, [-0.1] * DIMENSIONS], dtype=np.float32))
        (found,) = index.search(np.full((1, DIMENSIONS), 3.0, dtype=np.float32), 2)
        assert list(found.ids) == ["long", "short"]
        assert list(found.scores) == pytest.approx([1.0, -1.0], abs=1e-5)

    def test_saved_and_opened_again_it_is_the_same(self, filled: Index, place: IndexFactory) -> None:
        filled.delete(names(30))
        filled.upsert(["müsli/字 1"], unit_rows(1, seed=7))
        filled.sequence = 41
        filled.save(place.folder)
        again = place.open(DIMENSIONS, FINGERPRINT)
        queries = unit_rows(10, seed=8)
        assert [one.ids for one in again.search(queries, 7)] == [one.ids for one in filled.search(queries, 7)]
        assert (again.sequence, len(again), again.fingerprint) == (41, 271, FINGERPRINT)
        again.upsert(["later"], unit_rows(1, seed=9))
        assert again.search(unit_rows(1, seed=9), 1)[0].ids == ["later"]

    def test_an_empty_index_can_be_saved(self, index: Index, place: IndexFactory) -> None:
        index.save(place.folder)
        assert len(place.open(DIMENSIONS, FINGERPRINT)) == 0

    def test_what_is_stored_is_known_without_loading(self, filled: Index, place: IndexFactory) -> None:
        assert place.stored() is None
        filled.sequence = 5
        filled.save(place.folder)
        stored = place.stored()
        assert stored is not None
        assert (stored.rows, stored.sequence, stored.fingerprint, stored.backend) == (
            300,
            5,
            FINGERPRINT,
            filled.info().backend,
        )

    def test_another_encoders_index_is_refused(self, filled: Index, place: IndexFactory) -> None:
        filled.save(place.folder)
        with pytest.raises(FingerprintError, match="other@2"):
            place.open(DIMENSIONS, "other@2")
        with pytest.raises(FingerprintError, match="wide"):
            place.open(DIMENSIONS + 1, FINGERPRINT)

    def test_other_contents_are_refused(self, place: IndexFactory) -> None:
        place.open(DIMENSIONS, FINGERPRINT, contents="documents of help").save(place.folder)
        with pytest.raises(ArtifactError, match="documents of help"):
            place.open(DIMENSIONS, FINGERPRINT, contents="documents of news")

    def test_a_fresh_one_replaces_the_stored_when_saved(self, filled: Index, place: IndexFactory) -> None:
        filled.save(place.folder)
        fresh = place.open(DIMENSIONS, "other@2", fresh=True)
        assert len(fresh) == 0
        assert len(place.open(DIMENSIONS, FINGERPRINT)) == 300
        fresh.save(place.folder)
        assert len(place.open(DIMENSIONS, "other@2")) == 0

    def test_export_yields_every_row_once(self, filled: Index) -> None:
        filled.delete(names(10))
        batches = list(filled.export(batch=64))
        assert all(len(ids) == len(vectors) <= 64 for ids, vectors in batches)
        exported = {key: vector for ids, vectors in batches for key, vector in zip(ids, vectors, strict=True)}
        assert sorted(exported) == sorted(names(290, start=10))
        np.testing.assert_allclose(exported["r299"], unit_rows(300, seed=1)[299], atol=1e-6)

    def test_searches_while_writing_see_whole_calls(self, index: Index) -> None:
        """A writer replaces two twins by one call at a time; no search ever sees the twins apart, or a row missing."""
        states = [unit_rows(1, seed=seed) for seed in range(60)]
        index.upsert(["a", "b"], np.repeat(states[0], 2, axis=0))
        problems: list[str] = []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                (found,) = index.search(states[0], 2)
                if sorted(found.ids) != ["a", "b"] or abs(found.scores[0] - found.scores[1]) > 1e-6:
                    problems.append(f"{found}")

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for state in states:
            index.upsert(["a", "b"], np.repeat(state, 2, axis=0))
        done.set()
        for reader in readers:
            reader.join()
        assert not problems

    def test_a_filter_given_again_is_answered_anew(self, filled: Index) -> None:
        """An index may remember which rows a frozenset allows; what dies, comes and comes back counts all the same."""
        allowed = Allowed(names(40), {"shelf": "a"})
        assert filled.search(unit_rows(1, seed=5), 50, allowed=allowed)[0].eligible == 40
        filled.delete(["r3", "r4"])
        assert set(filled.search(unit_rows(1, seed=5), 50, allowed=allowed)[0].ids) == set(allowed) - {"r3", "r4"}
        filled.upsert(["r4", "r999"], unit_rows(2, seed=6))
        (found,) = filled.search(unit_rows(1, seed=5), 50, allowed=allowed)
        assert (set(found.ids), found.eligible) == (set(allowed) - {"r3"}, 39)
        assert filled.search(unit_rows(1, seed=5), 50, allowed=Allowed(["r999"], {}))[0].ids == ["r999"]

    def test_a_save_of_little_is_opened_again_as_a_whole(self, filled: Index, place: IndexFactory) -> None:
        filled.save(place.folder)
        for step in range(1, 6):
            filled.delete(names(7, start=step * 7))
            filled.upsert([f"new{step}"], unit_rows(1, seed=step + 20))
            filled.sequence = step
            filled.save(place.folder)
            again = place.open(DIMENSIONS, FINGERPRINT)
            stored = place.stored()
            assert stored is not None
            assert (again.sequence, stored.sequence, stored.rows) == (step, step, len(filled))
            assert _rows(again).keys() == _rows(filled).keys()
            assert again.search(unit_rows(1, seed=step + 20), 1)[0].ids == [f"new{step}"]

    def test_what_is_not_saved_is_not_there_when_opened_again(self, filled: Index, place: IndexFactory) -> None:
        filled.save(place.folder)
        filled.upsert(["later"], unit_rows(1, seed=9))
        assert len(place.open(DIMENSIONS, FINGERPRINT)) == 300

    def test_the_right_to_write_is_had_by_one(self, place: IndexFactory) -> None:
        with place.writing(), pytest.raises(ArtifactError, match="Another process"), place.writing():
            pass
        with place.writing():
            pass

    def test_it_says_what_it_is(self, filled: Index) -> None:
        info = filled.info()
        assert (info.rows, info.dimensions, info.fingerprint) == (300, DIMENSIONS, FINGERPRINT)
        assert info.backend
        assert info.kind
        assert info.device


def _rows(index: Index) -> dict[str, bytes]:
    return {key: vector.tobytes() for ids, vectors in index.export() for key, vector in zip(ids, vectors, strict=True)}
