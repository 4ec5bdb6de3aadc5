"""The simple method that a tagger must beat: entities of the train part are found again, wherever they stand.

The baseline of CoNLL-2003 (Tjong Kim Sang and De Meulder 2003, https://aclanthology.org/W03-0419), but for one thing:
an entity that is more often none in the train part, such as "May", is left alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from mercat.heads.tags import OUTSIDE, entities
from mercat.training.tagging.rows import Tagged

NAME = "entities of the train part"
Phrase = tuple[str, ...]


class Gazetteer:
    """Tags the longest known entity at each word, with the label that it mostly had."""

    def __init__(self, texts: Sequence[Tagged]) -> None:
        labels: dict[Phrase, Counter[str]] = defaultdict(Counter)
        for text in texts:
            words = _words(text)
            for first, last, label in entities(text.tags):
                labels[words[first:last]][label] += 1
        self._longest = max((len(phrase) for phrase in labels), default=0)
        self._labels = {phrase: counts.most_common(1)[0][0] for phrase, counts in labels.items()}
        met = Counter(phrase for text in texts for _, phrase in self._found(_words(text)))
        kept = {phrase for phrase, counts in labels.items() if 2 * counts.total() >= met[phrase]}
        self._labels = {phrase: label for phrase, label in self._labels.items() if phrase in kept}

    def tags(self, text: Tagged) -> list[str]:
        """Return a BIO tag per word of a text."""
        words = _words(text)
        found = [OUTSIDE] * len(words)
        for first, phrase in self._found(words):
            label = self._labels[phrase]
            found[first : first + len(phrase)] = [f"B-{label}", *[f"I-{label}"] * (len(phrase) - 1)]
        return found

    def _found(self, words: Phrase) -> Iterator[tuple[int, Phrase]]:
        at = 0
        while at < len(words):
            sizes = range(min(self._longest, len(words) - at), 0, -1)
            phrase = next((words[at : at + size] for size in sizes if words[at : at + size] in self._labels), ())
            if phrase:
                yield at, phrase
            at += len(phrase) or 1


def _words(text: Tagged) -> Phrase:
    return tuple(text.text[start:end] for start, end in text.words)
