"""English words without their endings, so that "retrieval" meets "retrieving".

Porter 1980, "An algorithm for suffix stripping", Program 14(3), with the two departures of his own later code ("logi"
to "log", "bli" to "ble").
"""

from __future__ import annotations

import re
from functools import lru_cache

_C, _V = "[^aeiou](?:[^aeiouy])*", "[aeiouy][aeiou]*"
_MEASURED = re.compile(f"^(?:{_C})?{_V}{_C}")  # at least one vowel followed by a consonant
_TWICE = re.compile(f"^(?:{_C})?{_V}{_C}{_V}{_C}")
_ONCE = re.compile(f"^(?:{_C})?{_V}{_C}(?:{_V})?$")
_VOWEL = re.compile(f"^(?:{_C})?[aeiouy]")
_SHORT = re.compile(f"^{_C}[aeiouy][^aeiouwxy]$")
_DOUBLE = re.compile(r"([^aeiouylsz])\1$")
_WORD = re.compile("[a-z]{3,}")
_SECONDS = (
    "ational:ate tional:tion enci:ence anci:ance izer:ize bli:ble alli:al entli:ent eli:e ousli:ous ization:ize "
    "ation:ate ator:ate alism:al iveness:ive fulness:ful ousness:ous aliti:al iviti:ive biliti:ble logi:log"
)
_THIRDS = "icate:ic ative: alize:al iciti:ic ical:ic ful: ness:"
_FOURTHS = "al ance ence er ic able ible ant ement ment ent ion ou ism ate iti ous ive ize"


def _table(pairs: str) -> dict[str, str]:
    return dict(pair.split(":") for pair in pairs.split())


_SECOND, _THIRD, _FOURTH = _table(_SECONDS), _table(_THIRDS), tuple(_FOURTHS.split())


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """Return a lower-case English word without its ending. Anything else than three or more plain letters stays."""
    if not _WORD.fullmatch(word):
        return word
    for step in (_plural, _past, _y, _second, _third, _fourth, _last):
        word = step(word)
    return word


def _plural(word: str) -> str:
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _past(word: str) -> str:
    if word.endswith("eed"):
        return word[:-1] if _MEASURED.match(word[:-3]) else word
    ending = next((ending for ending in ("ed", "ing") if word.endswith(ending)), "")
    if not ending or not _VOWEL.match(word[: -len(ending)]):
        return word
    word = word[: -len(ending)]
    if word.endswith(("at", "bl", "iz")):
        return word + "e"
    if _DOUBLE.search(word):
        return word[:-1]
    return word + "e" if _SHORT.match(word) else word


def _y(word: str) -> str:
    return word[:-1] + "i" if word.endswith("y") and _VOWEL.match(word[:-1]) else word


def _second(word: str) -> str:
    return _exchanged(word, _SECOND)


def _third(word: str) -> str:
    return _exchanged(word, _THIRD)


def _exchanged(word: str, endings: dict[str, str]) -> str:
    """Exchange the longest ending of the table, if what stands before it is long enough."""
    for length in range(7, 2, -1):
        if (ending := word[-length:]) in endings and len(word) >= length:
            return word[:-length] + endings[ending] if _MEASURED.match(word[:-length]) else word
    return word


def _fourth(word: str) -> str:
    found = max((ending for ending in _FOURTH if word.endswith(ending)), key=len, default="")
    before = word[: len(word) - len(found)]
    if not found or not _TWICE.match(before) or (found == "ion" and not before.endswith(("s", "t"))):
        return word
    return before


def _last(word: str) -> str:
    if word.endswith("e"):
        before = word[:-1]
        if _TWICE.match(before) or (_ONCE.match(before) and not _SHORT.match(before)):
            word = before
    return word[:-1] if word.endswith("ll") and _TWICE.match(word[:-1]) else word
