"""Names, companies and gendered words exchanged where they stand, in English and Chinese."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from mercat.text.variants import word_lists as lists


def swapped_gender(text: str) -> str:
    """Return the text with every gendered word turned into its counterpart; case is kept."""
    found = _pattern("gender_en").sub(lambda match: _cased(_counterparts()[match[0].lower()], match[0]), text)
    return _pattern("gender_zh").sub(lambda match: _counterparts()[match[0]], found)


def swapped_words(text: str, kind: str, rng: np.random.Generator) -> str:
    """Return the text with every listed name or company replaced by another one, the same for the same word."""
    chosen: dict[str, str] = {}
    for language in ("en", "zh"):
        words = _members()[f"{kind}_{language}"]

        def other(match: re.Match[str], words: Sequence[str] = words) -> str:
            if match[0] not in chosen:
                rest = [word for word in words if word != match[0]]
                chosen[match[0]] = rest[int(rng.integers(len(rest)))]
            return chosen[match[0]]

        text = _pattern(f"{kind}_{language}").sub(other, text)
    return text


@cache
def _members() -> Mapping[str, Sequence[str]]:
    return {
        "names_en": lists.NAMES_EN,
        "names_zh": lists.NAMES_ZH,
        "companies_en": lists.COMPANIES_EN,
        "companies_zh": lists.COMPANIES_ZH,
        "gender_en": tuple(word for pair in lists.GENDER_EN for word in pair),
        "gender_zh": tuple(word for pair in lists.GENDER_ZH for word in pair),
    }


@cache
def _pattern(name: str) -> re.Pattern[str]:
    """Longer words first; English ones whole, names as they are written, gendered words in any case."""
    words = "|".join(re.escape(word) for word in sorted(_members()[name], key=len, reverse=True))
    if name.endswith("_zh"):
        return re.compile(rf"(?<![其吉维])(?:{words})")  # 其他, 吉他 and 维他命 speak of nobody
    return re.compile(rf"\b(?:{words})\b", re.IGNORECASE if name == "gender_en" else 0)


@cache
def _counterparts() -> Mapping[str, str]:
    """Where a word has two counterparts the first pair counts: "her" becomes "him"."""
    found: dict[str, str] = {}
    for one, two in (*lists.GENDER_EN, *lists.GENDER_ZH):
        found.setdefault(one, two)
        found.setdefault(two, one)
    return found


def _cased(word: str, like: str) -> str:
    if like.isupper() and len(like) > 1:
        return word.upper()
    return word.capitalize() if like[0].isupper() else word
