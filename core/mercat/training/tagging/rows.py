"""From rows of the store to words with BIO tags: given word by word, or as spans of characters.

A row says in its metadata either `tokens` and `tags` (lists, or texts with white space between), or `entities`, a list
of {"start", "end", "label"} in characters of its text. Tags may be IOB1, IOB2 (BIO), BIOES or BILOU.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mercat.errors import DataError
from mercat.heads.tags import OUTSIDE
from mercat.predictors.words import Words, split_words
from mercat.values import Example

_BEGIN, _INSIDE = ("B", "S", "U"), ("I", "M", "E", "L")
_LISTED = (
    'metadata such as {"tokens": ["Oslo", "."], "tags": ["B-LOC", "O"]}, or {"entities": [{"start", "end", "label"}]}'
)


@dataclass(frozen=True, slots=True)
class Tagged:
    """A text whose words have tags, in IOB2."""

    text: str
    words: Words
    tags: tuple[str, ...]


class TagReader:
    """Reads rows, and counts what a person should know of them. The parameters name columns of metadata."""

    def __init__(self, *, tokens: str = "tokens", tags: str = "tags", entities: str = "entities") -> None:
        self._tokens, self._tags, self._entities = tokens, tags, entities
        self.counted: Counter[str] = Counter()

    def read(self, row: Example) -> Tagged:
        """Return a row's words and tags. Raises DataError for a row that has none, or whose lists do not fit."""
        given = row.metadata
        if self._tokens in given and self._tags in given:
            return self._from_tokens(row, _list(given[self._tokens]), _list(given[self._tags]))
        if self._entities in given:
            return self._from_spans(row, given[self._entities])
        found = f"Row '{row.id}' has neither '{self._tokens}' and '{self._tags}' nor '{self._entities}'"
        raise DataError("Tags are learned from rows that say them", found, _LISTED)

    def notes(self) -> list[str]:
        """Return what was found in the rows read so far, as notes of a report."""
        words = {
            "begun": "{} tags began an entity with I-, as IOB1 does; they were read as B-",
            "moved": "{} entities begin or end inside a word; the whole word was taken",
            "overlapping": "{} entities overlap an earlier one and were left out",
            "empty": "{} entities cover no word and were left out",
        }
        return [text.format(self.counted[name]) for name, text in words.items() if self.counted[name]]

    def _from_tokens(self, row: Example, tokens: Sequence[str], tags: Sequence[str]) -> Tagged:
        if len(tokens) != len(tags):
            found = f"Row '{row.id}' has {len(tokens)} tokens and {len(tags)} tags"
            raise DataError("Each token has one tag", found, _LISTED)
        kept = [(token, tag) for token, tag in zip(tokens, tags, strict=True) if token.strip()]
        return Tagged(
            row.text, _placed(row, [token.strip() for token, _ in kept]), self._bio(row, [tag for _, tag in kept])
        )

    def _from_spans(self, row: Example, given: Any) -> Tagged:
        words = split_words(row.text)
        tags = [OUTSIDE] * len(words)
        for start, end, label in sorted(_spans(row, given)):
            inside = [number for number, (first, last) in enumerate(words) if first < end and last > start]
            if not inside:
                self.counted["empty"] += 1
            elif any(tags[number] != OUTSIDE for number in inside):
                self.counted["overlapping"] += 1
            else:
                self.counted["moved"] += (words[inside[0]][0], words[inside[-1]][1]) != (start, end)
                for number in inside:
                    tags[number] = f"{'B' if number == inside[0] else 'I'}-{label}"
        return Tagged(row.text, words, tuple(tags))

    def _bio(self, row: Example, tags: Sequence[str]) -> tuple[str, ...]:
        """Return tags in IOB2 from any of the usual schemes."""
        found: list[str] = []
        for tag in tags:
            kind, _, label = tag.partition("-")
            if tag == OUTSIDE:
                found.append(tag)
            elif not label or kind not in (*_BEGIN, *_INSIDE):
                asked = "Tags are O, or B- and I- with a label, such as B-PER (or those of IOB1, BIOES, BILOU)"
                raise DataError(asked, f"Row '{row.id}' has the tag '{tag[:40]}'", _LISTED)
            elif kind in _INSIDE and found and found[-1][2:] == label:
                found.append(f"I-{label}")
            else:
                self.counted["begun"] += kind in _INSIDE
                found.append(f"B-{label}")
        return tuple(found)


def digested(row: Example, tagged: Tagged) -> Example:
    """Return the row with its tags as its label, so that what is known of a row covers them."""
    return replace(row, label=" ".join(tagged.tags))


def _list(given: Any) -> list[str]:
    if isinstance(given, str):
        return [str(each) for each in json.loads(given)] if given.lstrip().startswith("[") else given.split()
    return [str(each) for each in given]


def _placed(row: Example, tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Return where the tokens lie in the text, one after the other."""
    found, at = [], 0
    for token in tokens:
        start = row.text.find(token, at)
        if start < 0:
            raise DataError(
                "The text of a row holds its tokens in their order",
                f"Row '{row.id}' has the token '{token[:40]}', which its text lacks from character {at} on",
                "the tokens joined as text, with or without spaces",
            )
        at = start + len(token)
        found.append((start, at))
    return found


def _spans(row: Example, given: Any) -> list[tuple[int, int, str]]:
    try:
        listed = json.loads(given) if isinstance(given, str) else given
        found = [_span(each) for each in listed]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError("Entities have start, end and label", f"Row '{row.id}': {error!r}", _LISTED) from error
    for start, end, label in found:
        if not (0 <= start < end <= len(row.text)) or not label:
            what = f"Row '{row.id}' of {len(row.text)} characters has one from {start} to {end}, label '{label}'"
            raise DataError("Entities lie inside their text and have a label", what, _LISTED)
    return found


def _span(given: Mapping[str, Any]) -> tuple[int, int, str]:
    return int(given["start"]), int(given["end"]), str(given["label"]).strip()
