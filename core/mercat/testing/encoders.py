"""The contract of an encoder: inherit `EncoderContract`, say how one is made, and the tests come along."""

from __future__ import annotations

import threading
from abc import abstractmethod

import numpy as np
import pytest

from mercat.encoders.base import Encoder, Vectors
from mercat.testing.contract import Contract

TEXTS = (
    "Where is my card?",
    "My card has not arrived after two weeks, and nobody answers the phone. What can I do about it?",
    "refund",
    "我的银行卡还没有到，怎么办？",
    "¿Dónde está mi tarjeta?",
    "Where is my card?",
)
SENTENCE = "The parcel that I ordered last week has still not arrived. "


class EncoderContract(Contract):
    """What every encoder must do. `tolerance` is how far a cosine may be from 1 between two ways of asking."""

    tolerance = 1e-4
    _made: Encoder

    @abstractmethod
    def encoder(self) -> Encoder:
        """Return a new encoder that has not loaded anything yet."""

    @pytest.fixture
    def shared(self) -> Encoder:
        """One encoder for all tests of a class: weights are slow to load."""
        kind = type(self)
        if "_made" not in vars(kind):
            kind._made = self.encoder()
        return kind._made

    def same(self, one: Vectors, other: Vectors) -> bool:
        """Say whether rows point the same way."""
        return bool(np.all(np.sum(one * other, axis=1) > 1 - self.tolerance))

    def test_it_is_an_encoder(self, shared: Encoder) -> None:
        assert isinstance(shared, Encoder)

    def test_vectors_are_float32_rows_of_length_one(self, shared: Encoder) -> None:
        found = shared.encode(TEXTS)
        assert found.shape == (len(TEXTS), shared.dimensions)
        assert found.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4)

    def test_the_order_of_texts_is_kept(self, shared: Encoder) -> None:
        turned = tuple(reversed(TEXTS))
        assert self.same(shared.encode(TEXTS), shared.encode(turned)[::-1])

    def test_other_texts_have_other_vectors(self, shared: Encoder) -> None:
        found = shared.encode(TEXTS)
        assert found[0] @ found[5] > 1 - self.tolerance
        assert found[0] @ found[2] < 0.99

    def test_no_texts_give_no_rows(self, shared: Encoder) -> None:
        found = shared.encode([])
        assert found.shape == (0, shared.dimensions)
        assert found.dtype == np.float32

    def test_a_batch_of_one_equals_a_batch_of_many(self, shared: Encoder) -> None:
        one_by_one = np.concatenate([shared.encode([text]) for text in TEXTS])
        assert self.same(one_by_one, shared.encode(TEXTS))

    def test_an_empty_text_has_a_vector(self, shared: Encoder) -> None:
        found = shared.encode(["", "   ", TEXTS[0]])
        assert np.all(np.isfinite(found))
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4)
        assert self.same(found[2:], shared.encode(TEXTS[:1]))

    def test_a_long_text_is_taken(self, shared: Encoder) -> None:
        found = shared.encode([SENTENCE * (100_000 // len(SENTENCE) + 1), TEXTS[0]])
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-4)
        assert self.same(found[1:], shared.encode(TEXTS[:1]))

    @pytest.mark.parametrize("text", ["a\x00b", "\ud800", "🙂" * 50, "\n\t", "ﷺ", "x" * 5000])
    def test_strange_texts_are_taken(self, shared: Encoder, text: str) -> None:
        found = shared.encode([text])
        assert np.linalg.norm(found[0]) == pytest.approx(1, abs=1e-4)

    def test_both_roles_are_taken(self, shared: Encoder) -> None:
        query, document = shared.encode(TEXTS, role="query"), shared.encode(TEXTS, role="document")
        assert query.shape == document.shape
        assert self.same(document, shared.encode(TEXTS))

    def test_the_fingerprint_is_known_before_the_first_text(self, shared: Encoder) -> None:
        fresh = self.encoder()
        assert fresh.fingerprint
        assert (fresh.fingerprint, fresh.dimensions) == (shared.fingerprint, shared.dimensions)
        before = fresh.fingerprint
        fresh.encode(TEXTS[:1])
        assert fresh.fingerprint == before

    def test_two_instances_agree(self, shared: Encoder) -> None:
        assert self.same(self.encoder().encode(TEXTS), shared.encode(TEXTS))

    def test_threads_may_share_it(self, shared: Encoder) -> None:
        fresh, found = self.encoder(), {}
        wanted = shared.encode(TEXTS)

        def work(number: int) -> None:
            found[number] = fresh.encode(TEXTS)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        assert all(self.same(vectors, wanted) for vectors in found.values())

    def test_info_says_what_it_runs_as(self, shared: Encoder) -> None:
        shared.warm_up()
        info = shared.info()
        assert (info.dimensions, info.fingerprint) == (shared.dimensions, shared.fingerprint)
        assert all([info.model, info.backend, info.device, info.dtype])
