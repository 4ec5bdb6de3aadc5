import importlib.util

import pytest

from mercat.errors import MissingExtra
from mercat.text import keywords, segmenter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My CARDS haven't arrived!", ["my", "card", "haven", "arrived"]),
        ("the customer's top-up", ["the", "customer", "top-up", "top", "up"]),
        ("Apple Pay ＯＫ 2024", ["apple", "pay", "ok", "2024"]),
        ("policies status glass gas", ["policy", "status", "glass", "gas"]),
        ("café naïve", ["café", "naïve"]),
        ("", []),
        ("?!", []),
    ],
)
def test_latin_words(text, expected):
    assert keywords(text) == expected


def test_chinese_pairs_of_characters():
    assert keywords("退款多久到", chinese="bigrams") == ["退款", "款多", "多久", "久到"]
    assert keywords("我", chinese="bigrams") == ["我"]


def test_mixed_scripts_keep_their_order():
    assert keywords("用Apple Pay付款", chinese="bigrams") == ["用", "apple", "pay", "付款"]


@pytest.mark.skipif(importlib.util.find_spec("jieba") is None, reason="jieba is not installed")
def test_chinese_words_by_jieba():
    assert keywords("信用卡还款日期", chinese="jieba") == ["信用", "信用卡", "还款", "日期"]
    assert segmenter() == "jieba"


def test_without_jieba_auto_takes_pairs_and_jieba_is_an_error(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert segmenter("auto") == "bigrams"
    with pytest.raises(MissingExtra, match="jieba"):
        keywords("退款", chinese="jieba")
