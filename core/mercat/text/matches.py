"""Where in a text the words of a question stand."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mercat.text.tokens import HAN, Segmenter, keywords, segmenter
from mercat.text.words import word_spans

_IS_HAN = re.compile(rf"[{HAN}]")


def matched_spans(
    text: str, question: str, *, chinese: Segmenter = "auto", stems: bool = False
) -> list[tuple[int, int]]:
    """Return (start, end) of what a keyword search has found in `text`, in order; neighbours are one.

    Words match by their `keywords`, so "cards" is found by "card" and, with `stems`, "retrieved" by "retrieval". The
    commonest words ("the", "的") do not count.
    """
    wanted = set(keywords(question, chinese=chinese, stems=stems, stopwords=False))
    found: list[tuple[int, int]] = []
    for start, end in _words(text, segmenter(chinese)):
        if wanted.isdisjoint(keywords(text[start:end], chinese=chinese, stems=stems)):
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _words(text: str, cut: Segmenter) -> Iterator[tuple[int, int]]:
    """Yield words; where Chinese is cut into pairs of characters, each pair, and each character that stands alone."""
    spans = word_spans(text, chinese=cut)
    for at, (start, end) in enumerate(spans):
        if cut != "bigrams" or not _IS_HAN.match(text[start]):
            yield start, end
            continue
        after = spans[at + 1] if at + 1 < len(spans) else (-1, -1)
        if after[0] == end and _IS_HAN.match(text[end]):
            yield start, after[1]
        elif not (at and spans[at - 1][1] == start and _IS_HAN.match(text[start - 1])):
            yield start, end
