"""A small word list for finance news, English and Chinese, written for this project: the baseline, not the product."""

from __future__ import annotations

import re
from collections.abc import Sequence

NAME = "finance word list"
_POSITIVE_WORDS = """
rise rises rose risen increase increases increased grow grows grew growth gain gains gained profit profits
profitable improve improves improved improvement strong stronger record higher up beat beats exceed exceeds
exceeded win wins won award awarded order upgrade upgraded climb climbs surge surged boost boosted positive
success successful expand expands expansion doubled agreement jump jumped lift lifts raise raises raised
benefit good best
"""
_POSITIVE = frozenset(_POSITIVE_WORDS.split())
_NEGATIVE_WORDS = """
fall falls fell fallen decrease decreased decreases decline declines declined loss losses lose loses lost
drop drops dropped cut cuts lower lowered down weak weaker warn warns warning miss misses missed lawsuit
sued fine fined fraud investigation recall recalls layoff layoffs downgrade downgraded slump slumped plunge
plunged negative bankruptcy strike delay delayed debt default poor worse worst shrink shrank suspend
suspends tumble tumbles reduce reduced
"""
_NEGATIVE = frozenset(_NEGATIVE_WORDS.split())
_POSITIVE_ZH = ("增长", "上调", "大涨", "盈利", "扭亏", "改善", "创新高", "获得", "看好", "提高", "上升", "利好")
_NEGATIVE_ZH = ("下调", "亏损", "召回", "调查", "暴跌", "裁员", "造假", "违约", "起火", "罚款", "下降", "利空", "停产")
_WORD = re.compile(r"[a-z]+")


def polarity(texts: Sequence[str]) -> list[str]:
    """Return "positive", "negative" or "neutral" per text: which words are more."""
    return [_one(text) for text in texts]


def _one(text: str) -> str:
    words = _WORD.findall(text.lower())
    score = sum((word in _POSITIVE) - (word in _NEGATIVE) for word in words)
    score += sum(text.count(word) for word in _POSITIVE_ZH) - sum(text.count(word) for word in _NEGATIVE_ZH)
    return "positive" if score > 0 else "negative" if score < 0 else "neutral"
