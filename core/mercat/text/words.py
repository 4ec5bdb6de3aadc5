"""Where the words of a text are, in texts that mix scripts."""

from __future__ import annotations

import re

from mercat.text.tokens import HAN, Segmenter, cutter, segmenter

_WORD = re.compile(rf"[{HAN}]+|[^\W_{HAN}]+(?:['’.\-][^\W_{HAN}]+)*")
_IS_HAN = re.compile(rf"[{HAN}]")


def word_spans(text: str, *, chinese: Segmenter = "auto") -> list[tuple[int, int]]:
    """Return (start, end) of every word, in order and without overlap; punctuation and blanks lie between.

    Latin words keep their apostrophes, hyphens and decimal points. Chinese runs are cut by jieba, or into single
    characters with "bigrams"; "auto" takes jieba when it is installed. Raises MissingExtra for "jieba" without it.
    """
    cut = segmenter(chinese)
    spans: list[tuple[int, int]] = []
    for match in _WORD.finditer(text):
        if not _IS_HAN.match(match[0]):
            spans.append(match.span())
            continue
        at = match.start()
        for word in cutter().cut(match[0]) if cut == "jieba" else match[0]:
            spans.append((at, at + len(word)))
            at += len(word)
    return spans
