"""Keywords for lexical search, in texts that mix scripts."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

from mercat.errors import missing_extra
from mercat.text.normalise import normalise
from mercat.text.stems import stem

Segmenter = Literal["auto", "jieba", "bigrams"]

HAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
"""Kana and Han characters, as a range of a regular expression."""
_COMMONEST = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this "
    "to was will with 的 了 是 在 和 与 也 就 都 而 及 或 着 吗 呢 吧 啊"
)
STOPWORDS = frozenset(_COMMONEST.split())
"""The English list of Lucene, and Chinese particles."""
_TOKEN = re.compile(rf"[{HAN}]+|[^\W_{HAN}]+(?:['’.\-][^\W_{HAN}]+)*")
_IS_HAN = re.compile(rf"[{HAN}]")
_PARTS = re.compile(r"['’.\-]")


def keywords(text: str, *, chinese: Segmenter = "auto", stems: bool = False, stopwords: bool = True) -> list[str]:
    """Return the tokens of a text in order, for BM25 and its like.

    Latin words are lower-cased, lose a possessive 's and a plural s (so "cards" meets "card"); compounds such as
    "top-up" or "3.14" stay whole and give their parts as well. Chinese runs are cut by jieba, or into overlapping
    pairs of characters: "auto" takes jieba when it is installed. `stems` takes the endings of English words off, and
    without `stopwords` the commonest ones ("the", "of", "的") are left out, unless there is nothing else. Query and
    documents must be cut the same way: keep `segmenter(chinese)` beside an index. Raises MissingExtra for "jieba" when
    it is not installed.
    """
    cut = segmenter(chinese)
    tokens: list[str] = []
    for match in _TOKEN.finditer(normalise(text).lower()):
        if _IS_HAN.match(match[0]):
            tokens += _jieba(match[0]) if cut == "jieba" else _bigrams(match[0])
        else:
            tokens += _latin(match[0])
    if not stopwords:
        tokens = [token for token in tokens if token not in STOPWORDS] or tokens
    return [stem(token) for token in tokens] if stems else tokens


def segmenter(chinese: Segmenter = "auto") -> Literal["jieba", "bigrams"]:
    """Return what `keywords` cuts Chinese with here."""
    installed = importlib.util.find_spec("jieba") is not None
    if chinese == "jieba" and not installed:
        raise missing_extra("Cutting Chinese into words", "jieba", "chinese")
    if chinese == "auto":
        return "jieba" if installed else "bigrams"
    return chinese


def _latin(word: str) -> Iterator[str]:
    parts = [part for part in _PARTS.split(word) if part]
    if len(parts) == 2 and parts[1] in ("s", "t", "m", "re", "ve", "ll", "d"):  # card's, can't
        yield _singular(parts[0])
        return
    yield _singular("".join(word.split("’")) if len(parts) == 1 else word)
    if len(parts) > 1:
        yield from (_singular(part) for part in parts)


def _singular(word: str) -> str:
    """Take a plural s off, and nothing else: no stemmer, so names and codes stay themselves."""
    if len(word) > 3 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) and word.isalpha():
        return word[:-1]
    return word


def _bigrams(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)] or [run]


def _jieba(run: str) -> list[str]:
    return [token for token in cutter().cut_for_search(run) if token.strip()]


@cache
def cutter() -> Any:
    """Load jieba once, from its dictionary: by itself it reads a marshalled cache from the shared temporary folder."""
    import jieba

    cutter = jieba.Tokenizer()
    cutter.FREQ, cutter.total = cutter.gen_pfdict(cutter.get_dict_file())
    cutter.initialized = True
    return cutter
