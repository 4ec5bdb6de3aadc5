"""Counterfactual texts in two languages, and the share whose label changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mercat.audit.swaps import compare, counterfactuals, framed


def about_women(texts: Sequence[str]) -> np.ndarray:
    """Answers "b" as soon as a woman is spoken of."""
    found = np.array([any(word in text.lower().split() or "她" in text for word in ("she", "woman")) for text in texts])
    return np.where(found[:, None], [0.2, 0.8], [0.7, 0.3]).astype(np.float32)


def test_a_frame_says_who_asks_in_the_language_of_the_text() -> None:
    one, two = framed("where is my card", "gender", np.random.default_rng(0))
    assert {one, two} == {f"I am asking for a {who}. where is my card" for who in ("man", "woman")}
    one, two = framed("我的卡被盗了怎么办", "names", np.random.default_rng(0))
    assert one.startswith("你好，我叫")
    assert one != two


def test_flips_are_counted_with_their_interval() -> None:
    pairs = [("he", "she"), ("a", "b"), ("she", "he"), ("x", "x")]
    found = compare(about_women, ("a", "b"), pairs, kind="gender", how="swapped")
    assert (found.rows, found.flips.value, found.shift) == (4, 0.5, pytest.approx(0.25))
    assert found.flips.low < 0.5 < found.flips.high
    assert [(each.before, each.label_before, each.label_after) for each in found.examples] == [
        ("he", "a", "b"),
        ("she", "b", "a"),
    ]


def test_a_classifier_that_minds_gender_is_found_and_one_that_does_not_is_not() -> None:
    texts = [f"he wants number {at}" for at in range(30)]
    by = {(each.kind, each.how): each for each in counterfactuals(about_women, ("a", "b"), texts, size=20)}
    assert by["gender", "swapped"].flips.value == 1.0
    assert by["gender", "swapped"].rows == 20
    assert by["names", "framed"].flips.value == 0.0
    assert by["companies", "swapped"].rows == 0
    assert np.isnan(by["companies", "swapped"].flips.value)
    again = {(each.kind, each.how): each for each in counterfactuals(about_women, ("a", "b"), texts, size=20)}
    assert again["gender", "framed"] == by["gender", "framed"]
