"""Two texts as one sequence of tokens: the same when a matcher learns and when it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mercat.encoders.texts import readable
from mercat.errors import ArtifactError

Pair = tuple[str, str]
_CHARACTERS_PER_TOKEN = 64  # no text has longer tokens on average: what lies behind could not be seen anyway


class PairPieces:
    """Makes [CLS] a [SEP] b [SEP], of at most `max_tokens`; the longer text is cut first.

    With `types` the tokens of the second text have the type 1; without, the body knows no types. Raises
    ArtifactError for a tokenizer that marks no beginning and end.
    """

    def __init__(self, tokenizer: Any, *, max_tokens: int, lower_case: bool, types: bool) -> None:
        around = tokenizer.encode("").ids
        if len(around) != 2:
            found = f"It puts {len(around)} special tokens around a text, not a first and a last one"
            raise ArtifactError("Pairs need a tokenizer of a bidirectional encoder", found, "another encoder")
        self._tokenizer, self._lower, self._types = tokenizer, lower_case, types
        self._begin, self._end = around
        self._between = [self._end] * (2 if len(tokenizer.encode("", "").ids) == 4 else 1)  # RoBERTa's family has two
        self._room = max_tokens - 2 - len(self._between)

    def rows(self, pairs: Sequence[Pair]) -> tuple[list[list[int]], list[list[int]] | None]:
        """Return (token ids, token types) of each pair; None for a body that knows no types."""
        first, second = (self._ids([pair[side] for pair in pairs]) for side in (0, 1))
        ids, types = [], []
        for a, b in zip(first, second, strict=True):
            left, right = _shares(len(a), len(b), self._room)
            head = [self._begin, *a[:left], *self._between]
            tail = [*b[:right], self._end]
            ids.append([*head, *tail])
            types.append([0] * len(head) + [1] * len(tail))
        return ids, types if self._types else None

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        most = self._room * _CHARACTERS_PER_TOKEN
        cut = [readable(text, most) for text in texts]
        cut = [text.lower() for text in cut] if self._lower else cut
        return [each.ids for each in self._tokenizer.encode_batch(cut, add_special_tokens=False)]


def _shares(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how many tokens of each text fit."""
    half = room // 2
    left = first if first + second <= room else max(half, room - second)
    return min(first, left), min(second, room - min(first, left))
