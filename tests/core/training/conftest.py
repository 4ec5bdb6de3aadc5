"""A small encoder and small labelled collections."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest

from mercat.encoders.base import EncoderInfo
from mercat.values import Example

TOPICS = {
    "card": "card plastic chip pin blocked stolen wallet contactless",
    "transfer": "transfer iban wire recipient sent pending abroad bank",
    "refund": "refund money back merchant return dispute charged twice",
}
FILLER = "please i my the a when can how is it now today tell me about this again".split()


class Words:
    """An encoder for tests: each word a fixed random vector, a text their mean, scaled to length 1."""

    dimensions = 48
    fingerprint = "words-48"

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, texts: Sequence[str], *, role: str = "document") -> np.ndarray:
        self.encoded += len(texts)
        found = np.stack([np.sum([self._word(word) for word in text.lower().split() or [""]], axis=0) for text in texts])
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    def warm_up(self) -> None:
        pass

    def info(self) -> EncoderInfo:
        return EncoderInfo("words", "numpy", "cpu", "float32", self.dimensions, 0, 0, self.fingerprint)

    def _word(self, word: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
        return np.random.default_rng(seed).normal(size=self.dimensions)


def make_examples(rows: int, *, seed: int = 0, split: str = "", **fields: object) -> list[Example]:
    random = np.random.default_rng(seed)
    found = []
    for number in range(rows):
        label = list(TOPICS)[number % len(TOPICS)]
        words = [*random.choice(TOPICS[label].split(), 2), *random.choice(FILLER, 4)]
        if number % 11 == 5:  # some rows are hard
            words[0] = random.choice(TOPICS[list(TOPICS)[(number + 1) % len(TOPICS)]].split())
        text = " ".join(random.permutation(words))
        found.append(Example(f"{split or 'row'}-{number:04d}", text, label, split=split, **fields))
    return found


@pytest.fixture
def examples():
    return make_examples


@pytest.fixture
def words():
    return Words()
