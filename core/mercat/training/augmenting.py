"""More texts to learn from: every row again, written otherwise, under its own label.

Wei and Zou 2019, "EDA: Easy Data Augmentation Techniques for Boosting Performance on Text Classification Tasks",
https://arxiv.org/abs/1901.11196 (words left out, words that change places), with the slips of keyboards that an audit
tries as well. Helps with few rows and rough texts; with many clean rows it costs time and brings little.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mercat.errors import ConfigError
from mercat.text import detect
from mercat.text.variants import WAYS
from mercat.values import Example

Chance = np.random.Generator
_LEFT_OUT = 0.1  # of the words of a text, at least one


def without_words(text: str, chance: Chance) -> str:
    """Leave out one word in ten, at least one, of a text of three or more; Chinese loses characters."""
    words, glue = _words(text)
    if len(words) < 3:
        return text
    gone = chance.choice(len(words), size=max(1, round(_LEFT_OUT * len(words))), replace=False)
    return glue.join(word for place, word in enumerate(words) if place not in gone)


def swapped_places(text: str, chance: Chance) -> str:
    """Let two neighbouring words change places; in Chinese two characters."""
    words, glue = _words(text)
    if len(words) < 3:
        return text
    at = int(chance.integers(len(words) - 1))
    words[at], words[at + 1] = words[at + 1], words[at]
    return glue.join(words)


VARIANTS: Mapping[str, Callable[[str, Chance], str]] = {
    "words left out": without_words,
    "words swapped": swapped_places,
    **{
        name: WAYS[name].change
        for name in ("typos", "swapped letters", "lower case", "no punctuation", "paraphrase", "homophones")
    },
}


def check_copies(copies: int) -> None:
    """Raise ConfigError for a number of copies below 0."""
    if copies < 0:
        raise ConfigError(f"augment = {copies}", "It is how often each row is written otherwise", "augment = 1")


def augmented(rows: Sequence[Example], *, copies: int, seed: int) -> list[Example]:
    """Return the rows and behind them up to `copies` variants of each; a variant that exists already is left out.

    How a row is changed depends on its id, its text and the seed, not on the rows around it.
    """
    found, known = list(rows), {(row.text, row.label) for row in rows}
    for number in range(copies):
        for row in rows:
            text = _variant(row, number, seed)
            if (text, row.label) not in known:
                known.add((text, row.label))
                found.append(replace(row, id=f"{row.id}~{number + 1}", text=text))
    return found


def _variant(row: Example, number: int, seed: int) -> str:
    """Return the row's text in a way drawn among those that change it."""
    key = hashlib.sha256(f"{row.id}\0{row.text}".encode("utf-8", "surrogatepass")).digest()
    chance = np.random.default_rng([seed, number, int.from_bytes(key[:8], "big")])
    for name in chance.permutation(list(VARIANTS)):
        if (text := VARIANTS[name](row.text, chance)) != row.text and text.strip():
            return text
    return row.text


def _words(text: str) -> tuple[list[str], str]:
    """Return the words of a text and what stands between them; a Chinese text is its characters."""
    return (list(text), "") if detect(text) == "zh" and " " not in text else (text.split(), " ")
