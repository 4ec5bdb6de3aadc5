"""Where the words of a question stand in a text, in English and Chinese."""

import importlib.util

import pytest

from mercat.text import matched_spans


def marked(text, question, **how):
    return [text[start:end] for start, end in matched_spans(text, question, **how)]


def test_english_words_by_their_keywords():
    assert marked("The Cards were blocked.", "why is the card blocked?") == ["Cards", "blocked"]
    assert marked("A top-up of the account's limit", "top up my account") == ["top-up", "account's"]
    assert marked("It was retrieved", "retrieval") == []
    assert marked("It was retrieved", "retrieval", stems=True) == ["retrieved"]
    assert marked("the of and", "the of and x") == []
    assert marked("", "card") == marked("card", "") == []


def test_chinese_pairs_run_together():
    text = "银行卡丢失后如何挂失并补办新卡"
    assert marked(text, "银行卡怎么挂失", chinese="bigrams") == ["银行卡", "挂失"]
    assert marked("挂。失", "挂失", chinese="bigrams") == []
    assert marked("我，PIN 码", "我的pin", chinese="bigrams") == ["PIN"]
    assert marked("你 我", "我", chinese="bigrams") == ["我"]


@pytest.mark.skipif(importlib.util.find_spec("jieba") is None, reason="jieba is not installed")
def test_chinese_words_by_jieba():
    assert marked("信用卡的还款日期", "信用卡还款", chinese="jieba") == ["信用卡", "还款"]


def test_offsets_are_of_the_text_as_it_is():
    text = "Ｃａｒｄ ﬁnal\u200b 卡"
    assert marked(text, "card final", chinese="bigrams")[:1] == ["Ｃａｒｄ"]
    assert all(0 <= start < end <= len(text) for start, end in matched_spans(text, "card final 卡", chinese="bigrams"))
