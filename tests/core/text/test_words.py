"""Where words are: spans that can be cut out of the text as it stands."""

from __future__ import annotations

import itertools

import pytest

from mercat.text import word_spans


def words(text: str, **options: str) -> list[str]:
    return [text[start:end] for start, end in word_spans(text, **options)]  # type: ignore[arg-type]


def test_latin_words_keep_what_belongs_to_them() -> None:
    assert words("I can't top-up, 3.14 EUR!") == ["I", "can't", "top-up", "3.14", "EUR"]
    assert words("  …  ") == []


def test_chinese_is_cut_and_nothing_is_lost() -> None:
    assert words("卡 card被盗", chinese="bigrams") == ["卡", "card", "被", "盗"]
    pytest.importorskip("jieba")
    text = "我的银行卡被盗了，怎么办？"
    assert words(text) == ["我", "的", "银行卡", "被盗", "了", "怎么办"]
    spans = word_spans(text)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
