"""Names, companies and gendered words are exchanged where they stand, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from mercat.text.variants.exchanges import swapped_gender, swapped_words


@pytest.mark.parametrize(
    ("text", "swapped"),
    [
        ("He lost his card", "She lost her card"),
        ("MY HUSBAND said: she is the Chairman", "MY WIFE said: he is the Chairwoman"),
        ("the theory of heat", "the theory of heat"),
        ("他和妈妈，其他人弹吉他", "她和爸爸，其他人弹吉他"),
        ("男朋友问女士", "女朋友问先生"),
    ],
)
def test_gendered_words_become_their_counterparts(text: str, swapped: str) -> None:
    assert swapped_gender(text) == swapped


def test_a_name_becomes_the_same_other_name_everywhere() -> None:
    after = swapped_words("Emily paid Emily and Carlos", "names", np.random.default_rng(0))
    first, _, second, _, third = after.split()
    assert first == second != third
    assert "Emily" not in after
    assert swapped_words("腾讯的股价", "companies", np.random.default_rng(0)).endswith("的股价")
    assert swapped_words("apple pie for emily", "names", np.random.default_rng(0)) == "apple pie for emily"
