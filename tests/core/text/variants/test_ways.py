"""Texts written otherwise: each way does what it says."""

from __future__ import annotations

import numpy as np
import pytest

from mercat.text.variants import WAYS, changed
from mercat.text.variants.chinese_noise import LOOKS_ALIKE, SAME_SOUND
from mercat.text.variants.ways import neighbours, padded, typo

ENGLISH = "Why can't I find card 1234, Emily?"
CHINESE = "我的银行卡被盗了，怎么办？"


def written(way: str, text: str, seed: int = 0) -> str:
    (found,) = changed([text], WAYS[way], seed=seed)
    return found


@pytest.mark.parametrize(
    ("way", "text", "after"),
    [
        ("lower case", ENGLISH, "why can't i find card 1234, emily?"),
        ("upper case", ENGLISH, "WHY CAN'T I FIND CARD 1234, EMILY?"),
        ("no punctuation", "Is it here? No, there.", "Is it here No there"),
        ("no punctuation", CHINESE, "我的银行卡被盗了怎么办"),
        ("exclamation marks", "Where is the card?", "Where is the card!!!"),
        ("exclamation marks", CHINESE, "我的银行卡被盗了，怎么办！！！"),
        ("greeting and thanks", "Where is it?", "Hello, Where is it? Thank you!"),
        ("paraphrase", "Why can't I pay", "for what reason cannot I pay"),
        ("paraphrase", "怎么开户", "如何开户"),
        ("negation", "The card is here and is new", "The card is not here and is new"),
        ("negation", "I do not know", "I do not know"),
        ("negation", "利润会增长", "利润不会增长"),
        ("homophones", ENGLISH, ENGLISH),
        ("look-alikes", ENGLISH, ENGLISH),
        ("typos", CHINESE, CHINESE),
    ],
)
def test_what_each_way_writes(way: str, text: str, after: str) -> None:
    assert written(way, text) == after


def test_keys_have_their_neighbours() -> None:
    near = neighbours()
    assert (set(near["q"]), set(near["g"]), set(near["m"])) == (set("wa"), set("fhtyvb"), set("nkj"))
    assert all(letter in near[other] for letter, others in near.items() for other in others)


def test_a_typo_is_one_key_beside() -> None:
    after = written("typos", "Where")
    (place,) = [at for at in range(5) if after[at] != "Where"[at]]
    assert after[place].lower() in neighbours()["where"[place]]
    assert after[place].isupper() == "Where"[place].isupper()
    long = "where is my card " * 10
    assert sum(a != b for a, b in zip(long, typo(long, np.random.default_rng(1)), strict=True)) == 130 // 12


def test_letters_change_places_inside_words_only() -> None:
    after = written("swapped letters", "card is lost")
    assert sorted(after) == sorted("card is lost")
    assert after != "card is lost"
    assert (after[0], after[3], after[8], after[11]) == ("c", "d", "l", "t")


def test_numbers_and_names_become_others_of_their_kind() -> None:
    after = written("other numbers", "pay 1234 and 05 and 7")
    assert [len(word) for word in after.split() if word.isdigit()] == [4, 2, 1]
    assert not {"1234", "05", "7"} & set(after.split())
    assert "Emily" not in written("other names", ENGLISH)


def test_chinese_characters_become_others_of_their_sound_or_look() -> None:
    for way, groups in (("homophones", SAME_SOUND), ("look-alikes", LOOKS_ALIKE)):
        after = written(way, CHINESE)
        pairs = [(a, b) for a, b in zip(CHINESE, after, strict=True) if a != b]
        assert pairs
        assert all(any(a in group and b in group for group in groups) for a, b in pairs)


def test_a_padded_text_holds_the_text_in_its_middle() -> None:
    after = padded(ENGLISH, np.random.default_rng(0))
    assert len(after) >= 3 * len(ENGLISH)
    assert 0 < after.index(ENGLISH) < len(after) - len(ENGLISH)


def test_a_seed_gives_the_same_texts_whatever_comes_before() -> None:
    texts = [ENGLISH, "where is my card please"]
    assert changed(texts, WAYS["typos"], seed=5) == changed(texts, WAYS["typos"], seed=5)
    assert changed(texts, WAYS["typos"], seed=5) != changed(texts, WAYS["typos"], seed=6)
    assert changed(["x", texts[1]], WAYS["typos"], seed=5)[1] == changed(texts, WAYS["typos"], seed=5)[1]
