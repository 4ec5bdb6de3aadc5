"""Rows written otherwise: what is changed, what is not, and that chance is the row's own."""

from __future__ import annotations

import numpy as np
import pytest

from mercat.errors import ConfigError
from mercat.training.augmenting import VARIANTS, augmented, check_copies, swapped_places, without_words
from mercat.values import Example

ROWS = [
    Example("1", "Where is the card that I ordered last week?", "card", group="a", split="train"),
    Example("2", "我的银行卡为什么还没有寄到", "card"),
    Example("3", "why can't I pay", "pay"),
]


def test_every_row_comes_again_under_its_label_and_group() -> None:
    found = augmented(ROWS, copies=2, seed=0)
    assert found[:3] == ROWS
    assert [row.id for row in found[3:]] == ["1~1", "2~1", "3~1", "1~2", "2~2", "3~2"]
    for row in found[3:]:
        origin = ROWS[int(row.id[0]) - 1]
        assert (row.label, row.group, row.split) == (origin.label, origin.group, origin.split)
        assert row.text != origin.text
    assert len({row.text for row in found}) == len(found)


def test_a_variant_depends_on_its_row_and_the_seed_alone() -> None:
    alone = augmented(ROWS[1:2], copies=1, seed=3)[1]
    assert augmented(ROWS, copies=1, seed=3)[4] == alone
    others = {augmented(ROWS[1:2], copies=1, seed=seed)[1].text for seed in range(8)}
    assert len(others) > 3


def test_what_cannot_be_changed_is_not_doubled() -> None:
    assert augmented([Example("1", "?", "a")], copies=3, seed=0) == [Example("1", "?", "a")]


@pytest.mark.parametrize(
    "text", ["one two three four five six seven eight nine ten eleven twelve", "我的银行卡被盗了怎么办呢"]
)
def test_words_are_left_out_or_change_places(text: str) -> None:
    chance = np.random.default_rng(0)
    words = text.split() if " " in text else list(text)
    fewer = without_words(text, chance)
    left = fewer.split() if " " in text else list(fewer)
    assert len(left) == len(words) - 1
    assert [word for word in words if word in left] == left
    after = swapped_places(text, chance)
    swapped = after.split() if " " in text else list(after)
    assert sorted(swapped) == sorted(words)
    assert sum(a != b for a, b in zip(words, swapped, strict=True)) in (0, 2)


@pytest.mark.parametrize("name", VARIANTS)
def test_no_variant_empties_a_text(name: str) -> None:
    for number in range(20):
        for text in ("a", "a b", "?!", "卡", *(row.text for row in ROWS)):
            found = VARIANTS[name](text, np.random.default_rng(number))
            assert found.strip() or not text.strip("?!")


def test_fewer_than_no_copies_are_refused() -> None:
    with pytest.raises(ConfigError, match="augment = -1"):
        check_copies(-1)


def test_a_recipe_learns_from_rows_written_otherwise_and_is_judged_on_rows_as_they_are(store, tmp_path, tiny_bert):
    from mercat.encoders.transformer import Transformer
    from mercat.testing.training import topic_examples, train_in
    from mercat.training.classifying.full import Full
    from mercat.training.report import load_report

    store.upsert(topic_examples(90), collection="intents")
    quick = {"epochs": 1, "learning_rate": 3e-3, "init_head_from_linear": False}
    counts = {}
    for copies in (0, 2):
        recipe = Full(Transformer(str(tiny_bert)), collection="intents", augment=copies, **quick)
        counts[copies] = load_report(train_in(tmp_path / str(copies), recipe, store=store).folder).counts
    rows = counts[0]["train"]
    assert counts[0]["learned_from"] == rows == counts[2]["train"]
    assert 2 * rows < counts[2]["learned_from"] <= 3 * rows
    assert counts[2]["validation"] == counts[0]["validation"]
