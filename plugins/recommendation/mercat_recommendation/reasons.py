"""Why an item is in the list, in words that are tied to what somebody touched and to what the texts say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mercat.text.tokens import keywords
from mercat.values import Document
from mercat_recommendation.catalogue import categories_of
from mercat_recommendation.features import PERSONAL
from mercat_recommendation.ties import Ties

_BY_TEXT = ("text", "category", "price")
_WORDS = 3
_SHORT = 3  # Latin words of fewer letters name nothing

TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "ties": "People who chose “{title}” also chose this",
        "text": "Like “{title}”",
        "shared": " (both: {words})",
        "popular": "Chosen {count} times in the last 7 days",
        "once": "Chosen once in the last 7 days",
        "quiet": "Often chosen before",
        "new": "New in the catalogue",
    },
    "zh": {
        "ties": "选择“{title}”的人也选择了它",
        "text": "与“{title}”相似",
        "shared": "（共同点：{words}）",
        "popular": "最近 7 天被选择 {count} 次",
        "once": "最近 7 天被选择 1 次",
        "quiet": "此前常被选择",
        "new": "新上架",
    },
}
"""Reasons by language; a locale of another language gets English."""


@dataclass(frozen=True, slots=True)
class Reason:
    """`kind` is ties, text, popular, quiet or new; `because` the ids of the user's items behind it."""

    kind: str
    text: str
    because: Sequence[str] = ()
    words: Sequence[str] = ()


def texts_for(locale: str, texts: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    """Return the texts for a locale such as `zh-CN`, English where its language has none."""
    return texts.get(locale.partition("-")[0], texts["en"])


def reason_for(
    number: int,
    *,
    items: Sequence[Document],
    liked: NDArray[np.int64],
    parts: Mapping[str, float],
    ties: Ties,
    vectors: NDArray[np.float32],
    week: NDArray[np.float64],
    locale: str = "",
) -> Reason:
    """Name the strongest cause of the score of item `number` of the catalogue.

    `liked` has shape (touched,) and holds the numbers of the user's own items, the latest last; `parts` are the shares
    of the score by feature; `vectors` has shape (items, dimensions), unit rows; `week` has shape (items,) and counts
    events in the last 7 days.
    """
    said = texts_for(locale, TEXTS)
    own = sum(parts.get(name, 0.0) for name in PERSONAL)
    shared = sum(value for name, value in parts.items() if name not in PERSONAL)
    if len(liked) and (own >= shared or not week[number]) and own > 0:
        return _personal(number, items, liked, parts, ties, vectors, said)
    if week[number]:
        count = int(week[number])
        return Reason("popular", said["once" if count == 1 else "popular"].format(count=count))
    kind = "quiet" if parts.get("popular_all", 0.0) > 0 else "new"
    return Reason(kind, said[kind])


def _personal(
    number: int,
    items: Sequence[Document],
    liked: NDArray[np.int64],
    parts: Mapping[str, float],
    ties: Ties,
    vectors: NDArray[np.float32],
    said: Mapping[str, str],
) -> Reason:
    by_text = sum(parts.get(name, 0.0) for name in _BY_TEXT)
    by_ties = sum(parts.get(name, 0.0) for name in PERSONAL if name not in _BY_TEXT)
    strengths = ties.alike.tie(number, liked)
    kind = "ties" if by_ties >= by_text and strengths.max() > 0 else "text"
    nearness = strengths if kind == "ties" else vectors[liked] @ vectors[number]
    latest_best = len(liked) - 1 - int(np.argmax(nearness[::-1]))
    past = items[liked[latest_best]]
    words = shared_words(past, items[number])
    text = said[kind].format(title=past.title or past.id)
    text += said["shared"].format(words=", ".join(words)) if words else ""
    return Reason(kind, text, (past.id,), words)


def shared_words(one: Document, other: Document) -> list[str]:
    """Return up to three categories or words of titles that both items have, categories first."""
    categories = [name for name in categories_of(one) if name in categories_of(other)]
    theirs = set(keywords(other.title, chinese="bigrams"))
    words = [
        word
        for word in keywords(one.title, chinese="bigrams")
        if word in theirs and (not word.isascii() or len(word) > _SHORT)
    ]
    return list(dict.fromkeys([*categories, *words]))[:_WORDS]
