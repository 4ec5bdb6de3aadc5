"""A text as words, words as tokens, and long texts as windows: the same when a tagger learns and when it is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mercat.errors import ArtifactError

Words = Sequence[tuple[int, int]]
"""Where each word of a text begins and ends, in characters."""
HAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(
    rf"[{HAN}]"  # each alone
    r"|(?:[A-Za-z]\.){2,}"  # U.N.
    rf"|'(?:s|re|ve|ll|d|m)\b|[^\W{HAN}]+(?:[.,:/@&\-’'](?!(?:s|re|ve|ll|d|m)\b)[^\W{HAN}]+)*"  # 3.14, AT&T, O'Neil
    r"|\S"  # punctuation, each sign alone
)
SHAPES = ("other", "lower", "Title", "UPPER", "miXed", "0")
_MOST = 16  # tokens of one word: what lies behind them says little of its tag
_CONTEXT = 24  # words that a window shares with each of its neighbours, if they fit


def split_words(text: str) -> list[tuple[int, int]]:
    """Return where the words of a text lie: Han characters alone, punctuation alone, abbreviations and numbers whole.

    >>> [text[a:b] for text in ["The U.N.'s 3.5% (北京)."] for a, b in split_words(text)]
    ['The', 'U.N.', "'s", '3.5', '%', '(', '北', '京', ')', '.']
    """
    return [match.span() for match in _WORD.finditer(text)]


def shape_of(word: str) -> int:
    """Return the number of a word's shape in `SHAPES`: what an uncased model does not see of it.

    >>> [SHAPES[shape_of(word)] for word in ("and", "Oslo", "NATO", "McKay", "1996", "U.S.", "北")]
    ['lower', 'Title', 'UPPER', 'miXed', '0', 'UPPER', 'other']
    """
    if any(character.isdigit() for character in word):
        return 5
    if word.islower():
        return 1
    if word.isupper():
        return 3 if len(word) > 1 else 2
    letters = [character for character in word if character.isalpha()]
    if not letters or not any(character.isupper() for character in letters):
        return 0
    return 2 if word[0].isupper() and word[1:].islower() else 4


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a text that the model reads at once.

    `ids` has its tokens, `kinds` the shape of each one's word (0 for special tokens). `places` has the first token of
    each word from number `first` on: those that this window answers for, which lie the furthest from its borders.
    """

    ids: list[int]
    kinds: list[int]
    places: list[int]
    first: int


class WordPieces:
    """Turns the words of texts into token ids by the tokenizer of an encoder. Not safe between threads.

    Raises ArtifactError for a tokenizer that marks no beginning and end.
    """

    def __init__(self, tokenizer: Any, *, max_tokens: int, lower_case: bool) -> None:
        around = tokenizer.encode("").ids
        if len(around) != 2:
            found = f"It puts {len(around)} special tokens around a text, not a first and a last one"
            raise ArtifactError("Tags of words need a tokenizer of a bidirectional encoder", found, "another encoder")
        self._tokenizer, self._lower, self._room = tokenizer, lower_case, max_tokens - 2
        self._begin, self._end = around
        self._unknown = tokenizer.token_to_id("[UNK]") or tokenizer.token_to_id("<unk>") or around[1]
        self._known: dict[tuple[str, bool], list[int]] = {}

    def blind_to_case(self) -> bool:
        """Tell whether the tokenizer takes upper and lower case for the same."""
        return self._lower or self._of("Paris", apart=True) == self._of("paris", apart=True)

    def windows(self, text: str, words: Words) -> list[Window]:
        """Return the windows over a text; together they answer for each word once. No words give no window."""
        self._learn(text, words)
        pieces = [self._known[_key(text, start, end)] for start, end in words]
        kinds = [shape_of(text[start:end]) for start, end in words]
        found, answered = [], 0
        for begin, end in _stretches([len(piece) for piece in pieces], self._room):
            last = len(words) if end == len(words) else max(answered, end - _shared(begin, end))
            if last > answered:
                found.append(self._window(pieces, kinds, begin, end, answered, last))
            answered = last
        return found

    def _window(
        self, pieces: Sequence[list[int]], kinds: Sequence[int], begin: int, end: int, first: int, last: int
    ) -> Window:
        ids, shapes, places = [self._begin], [0], []
        for word in range(begin, end):
            if first <= word < last:
                places.append(len(ids))
            ids += pieces[word]
            shapes += [kinds[word]] * len(pieces[word])
        return Window([*ids, self._end], [*shapes, 0], places, first)

    def _learn(self, text: str, words: Words) -> None:
        """Look up the tokens of words not met yet, all at once."""
        new = {key for start, end in words if (key := _key(text, start, end)) not in self._known}
        if len(self._known) > 200_000:
            self._known.clear()
            new = {_key(text, start, end) for start, end in words}
        order = sorted(new)
        for key, encoding in zip(order, self._encoded([word for word, _ in order]), strict=True):
            self._known[key] = self._cut(encoding, apart=key[1])

    def _of(self, word: str, *, apart: bool) -> list[int]:
        return self._cut(self._encoded([word])[0], apart=apart)

    def _encoded(self, words: Sequence[str]) -> list[Any]:
        given = [word.encode("utf-8", "replace").decode("utf-8") for word in words]  # no lone surrogates
        given = [word.lower() for word in given] if self._lower else given
        found: list[Any] = self._tokenizer.encode_batch(given, add_special_tokens=False)
        return found

    def _cut(self, encoding: Any, *, apart: bool) -> list[int]:
        """Leave out the mark of a space before a word that has none before it, and the end of very long words."""
        ids: list[int] = encoding.ids
        if len(ids) > 1 and not apart and encoding.tokens[0] == "▁":
            ids = ids[1:]
        return ids[: min(_MOST, self._room)] or [self._unknown]


def _key(text: str, start: int, end: int) -> tuple[str, bool]:
    return text[start:end], start == 0 or text[start - 1].isspace()


def _shared(begin: int, end: int) -> int:
    return min(_CONTEXT, (end - begin) // 4) // 2


def _stretches(sizes: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """Yield (first word, word after the last) of windows of at most `room` tokens that share some words."""
    begin = 0
    while begin < len(sizes):
        end, used = begin, 0
        while end < len(sizes) and (used + sizes[end] <= room or end == begin):
            used += sizes[end]
            end += 1
        yield begin, end
        if end == len(sizes):
            return
        begin = max(begin + 1, end - 2 * _shared(begin, end))
