import random
import time

import numpy as np
import pytest

from mercat.text import jaccard, near_duplicates, shingles, signatures

WORDS = [f"w{n}" for n in range(400)]


def variants(rng: random.Random, families: int, copies: int, words: int = 40) -> list[str]:
    """Families of texts, each copy with up to six words changed."""
    texts = []
    for _ in range(families):
        base = rng.choices(WORDS, k=words)
        for _ in range(copies):
            copy = list(base)
            for place in rng.sample(range(words), rng.randrange(7)):
                copy[place] = rng.choice(WORDS)
            texts.append(" ".join(copy))
    return texts


def test_shingles():
    assert shingles("The card, the Card!") == {"the card the", "card the card"}
    assert shingles("退款多久") == {"退 款 多", "款 多 久"}
    assert shingles("two words") == {"two words"}
    assert shingles("abcd", unit="char") == {"abc", "bcd"}
    assert shingles("?!") == frozenset()


def test_signatures_estimate_jaccard():
    texts = variants(random.Random(2), families=10, copies=8)
    sets = [shingles(text) for text in texts]
    found = signatures(sets, permutations=256)
    errors = [
        (found[i] == found[j]).mean() - jaccard(sets[i], sets[j])
        for i in range(len(sets))
        for j in range(i + 1, len(sets))
    ]
    assert np.abs(errors).max() < 0.15
    assert abs(np.mean(errors)) < 0.01  # unbiased; one standard error of a single pair is 0.03


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_pairs_are_those_of_the_exact_comparison(threshold):
    texts = variants(random.Random(4), families=60, copies=6)
    sets = [shingles(text) for text in texts]
    exact = {
        (i, j) for i in range(len(sets)) for j in range(i + 1, len(sets)) if jaccard(sets[i], sets[j]) >= threshold
    }
    found = near_duplicates(texts, threshold=threshold)
    assert {(i, j) for i, j, _ in found} <= exact
    assert len(found) >= 0.99 * len(exact) > 10
    assert all(likeness == jaccard(sets[i], sets[j]) for i, j, likeness in found)


def test_only_pairs_of_different_parts():
    texts = ["my card has not arrived yet"] * 3 + ["something else altogether here"]
    pairs = near_duplicates(texts, parts=["train", "train", "test", "test"])
    assert [(i, j) for i, j, _ in pairs] == [(0, 2), (1, 2)]


def test_empty_texts_are_like_nothing():
    assert near_duplicates(["", "", "??"]) == []
    assert near_duplicates([]) == []


def test_thousands_of_texts_in_seconds():
    texts = variants(random.Random(5), families=1500, copies=2, words=20)
    start = time.process_time()
    near_duplicates(texts, threshold=0.8)
    assert time.process_time() - start < 10
