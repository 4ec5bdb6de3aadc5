"""What every head must do. Inherit `HeadContract` and give it a fitted head."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np
import pytest

from mercat.errors import DataError, FingerprintError
from mercat.heads import Head, Vectors, require_fingerprint
from mercat.testing.contract import Contract


class HeadContract(Contract):
    """Tests that a class of heads inherits. `dimensions` is that of the vectors the head was fitted on."""

    dimensions: int = 16

    @abstractmethod
    def head(self) -> Head:
        """Return a fitted head."""

    @abstractmethod
    def load(self, folder: Path) -> Head:
        """Return the head saved in `folder`."""

    def vectors(self, rows: int = 7) -> Vectors:
        """Return unit vectors of the head's dimensions. The shape is (rows, dimensions)."""
        found = np.random.default_rng(5).normal(size=(rows, self.dimensions)).astype(np.float32)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)

    def test_scores_are_probabilities(self) -> None:
        head = self.head()
        scores = head.scores(self.vectors())
        assert scores.shape == (7, len(head.labels))
        assert scores.dtype == np.float32
        assert (scores >= 0).all()
        np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-4)

    def test_no_rows_give_no_scores(self) -> None:
        head = self.head()
        assert head.scores(self.vectors(0)).shape == (0, len(head.labels))

    def test_a_row_scores_alone_as_among_others(self) -> None:
        head, vectors = self.head(), self.vectors()
        together = head.scores(vectors)
        alone = np.concatenate([head.scores(vectors[i : i + 1]) for i in range(len(vectors))])
        np.testing.assert_allclose(alone, together, atol=1e-5)

    def test_familiarity_is_a_number_per_row(self) -> None:
        head, vectors = self.head(), self.vectors()
        found = head.familiarity(vectors)
        assert found.shape == (7,)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        assert head.familiarity(self.vectors(0)).shape == (0,)

    def test_vectors_of_other_dimensions_are_refused(self) -> None:
        with pytest.raises(DataError):
            self.head().scores(np.zeros((2, self.dimensions + 1), dtype=np.float32))

    def test_it_comes_back_from_its_folder(self, tmp_path: Path) -> None:
        head, vectors = self.head(), self.vectors()
        head.save(tmp_path)
        again = self.load(tmp_path)
        assert (list(again.labels), again.fingerprint, again.threshold) == (
            list(head.labels),
            head.fingerprint,
            head.threshold,
        )
        np.testing.assert_array_equal(again.scores(vectors), head.scores(vectors))

    def test_it_is_saved_as_plain_files(self, tmp_path: Path) -> None:
        self.head().save(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["head.json", "head.safetensors"]

    def test_it_knows_its_encoder(self) -> None:
        head = self.head()
        require_fingerprint(head.fingerprint, head)
        with pytest.raises(FingerprintError, match=head.fingerprint):
            require_fingerprint("another-encoder", head)
