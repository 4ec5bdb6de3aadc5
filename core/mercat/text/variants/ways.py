"""Ways in which the same question is written otherwise. Each takes a text and a source of chance.

Ribeiro et al. 2020, "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList"; Belinkov and Bisk 2018,
"Synthetic and Natural Noise Both Break Neural Machine Translation" (keyboard neighbours); Naik et al. 2018, "Stress
Test Evaluation" (padding). A text that a way does not apply to comes back as it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mercat.text.language import detect
from mercat.text.variants.chinese_noise import homophone, lookalike
from mercat.text.variants.exchanges import swapped_words

Chance = np.random.Generator
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_LETTER = re.compile(r"[a-zA-Z]")
_LONG_WORD = re.compile(r"[a-zA-Z]{4,}")
_PUNCTUATION = re.compile(r"[^\w\s]")
_NUMBER = re.compile(r"\d+")
_AUXILIARY = re.compile(
    r"\b(is|are|was|were|am|can|could|will|would|should|do|does|did|has|have|had|may|must)\b(?! not\b|n't)",
    re.IGNORECASE,
)
_AUXILIARY_ZH = re.compile(r"(?<!不)(是|会|能|可以|应该|想|要|喜欢|好|上涨|增长)")
_CONTRACTIONS = {
    "can't": "cannot",
    "won't": "will not",
    "don't": "do not",
    "doesn't": "does not",
    "didn't": "did not",
    "isn't": "is not",
    "haven't": "have not",
    "hasn't": "has not",
    "i'm": "I am",
    "i've": "I have",
    "i'd": "I would",
    "it's": "it is",
    "what's": "what is",
    "how do i": "how can I",
    "why": "for what reason",
    "need to": "have to",
    "want to": "would like to",
    "怎么": "如何",
    "为什么": "为何",
    "什么时候": "何时",
    "可不可以": "能不能",
}
_PARAPHRASED = re.compile(
    "|".join(
        rf"\b{re.escape(key)}\b" if key.isascii() else key for key in sorted(_CONTRACTIONS, key=len, reverse=True)
    ),
    re.IGNORECASE,
)
_PADDING = {
    "en": "I have been with you for a long time and usually all goes well. I am writing from home today. ",
    "zh": "我是你们的老用户，一直都很顺利。今天我在家里给你们写信。",
}


@dataclass(frozen=True, slots=True)
class Way:
    """How a text is changed. `keeps_label` is false where another label may be right: then a flip is no fault."""

    change: Callable[[str, Chance], str]
    about: str
    keeps_label: bool = True


def neighbours() -> Mapping[str, str]:
    """Return, per letter, the letters beside it on a QWERTY keyboard."""
    found = {}
    for row, letters in enumerate(_ROWS):
        for at, letter in enumerate(letters):
            near = [letters[max(at - 1, 0) : at], letters[at + 1 : at + 2]]
            for other in (row - 1, row + 1):
                if 0 <= other < len(_ROWS):
                    first = at if other < row else at - 1
                    near.append(_ROWS[other][max(first, 0) : max(first + 2, 0)])
            found[letter] = "".join(near)
    return found


_NEAR = neighbours()


def typo(text: str, chance: Chance) -> str:
    """Hit the neighbouring key for one letter in twelve, at least one."""
    places = [match.start() for match in _LETTER.finditer(text) if match[0].lower() in _NEAR]
    if not places:
        return text
    letters = list(text)
    for place in chance.choice(places, size=max(1, len(places) // 12), replace=False):
        near = _NEAR[letters[place].lower()]
        hit = near[int(chance.integers(len(near)))]
        letters[place] = hit.upper() if letters[place].isupper() else hit
    return "".join(letters)


def transposed(text: str, chance: Chance) -> str:
    """Swap two inner letters of one word in four, at least one."""
    words = list(_LONG_WORD.finditer(text))
    if not words:
        return text
    letters = list(text)
    for number in chance.choice(len(words), size=max(1, len(words) // 4), replace=False):
        at = int(chance.integers(words[number].start() + 1, words[number].end() - 2))
        letters[at], letters[at + 1] = letters[at + 1], letters[at]
    return "".join(letters)


def without_punctuation(text: str, chance: Chance) -> str:
    """Take every punctuation mark out."""
    return " ".join(_PUNCTUATION.sub(" " if detect(text) != "zh" else "", text).split())


def shouted(text: str, chance: Chance) -> str:
    """Put three exclamation marks behind."""
    return text.rstrip(".?!。？！ ") + ("！！！" if detect(text) == "zh" else "!!!")


def polite(text: str, chance: Chance) -> str:
    """Put a greeting before and thanks behind."""
    return f"你好，{text}谢谢！" if detect(text) == "zh" else f"Hello, {text} Thank you!"


def paraphrased(text: str, chance: Chance) -> str:
    """Write out contractions and exchange small words for others of the same meaning."""
    return _PARAPHRASED.sub(lambda match: _CONTRACTIONS[match[0].lower()], text)


def padded(text: str, chance: Chance) -> str:
    """Put sentences that say nothing to the matter before and behind, three times the text or more."""
    filler = _PADDING["zh" if detect(text) == "zh" else "en"]
    times = 1 + 3 * len(text) // (2 * len(filler))
    return f"{filler * times}{text} {filler * times}".strip()


def renumbered(text: str, chance: Chance) -> str:
    """Replace every number by another one with as many digits."""
    return _NUMBER.sub(lambda match: _other_number(match[0], chance), text)


def renamed(text: str, chance: Chance) -> str:
    """Replace listed names and companies by others."""
    return swapped_words(swapped_words(text, "names", chance), "companies", chance)


def negated(text: str, chance: Chance) -> str:
    """Put "not" behind the first auxiliary verb, or 不 before the first Chinese one."""
    if detect(text) == "zh":
        return _AUXILIARY_ZH.sub(lambda match: f"不{match[0]}", text, count=1)
    return _AUXILIARY.sub(lambda match: f"{match[0]} not", text, count=1)


WAYS: Mapping[str, Way] = {
    "typos": Way(typo, "one letter in twelve hits the neighbouring key"),
    "swapped letters": Way(transposed, "two inner letters of one word in four change places"),
    "lower case": Way(lambda text, chance: text.lower(), "everything in lower case"),
    "upper case": Way(lambda text, chance: text.upper(), "everything in upper case"),
    "no punctuation": Way(without_punctuation, "every punctuation mark is gone"),
    "exclamation marks": Way(shouted, "three exclamation marks at the end"),
    "greeting and thanks": Way(polite, "a greeting before, thanks behind"),
    "paraphrase": Way(paraphrased, "contractions written out, small words exchanged"),
    "long input": Way(padded, "sentences without matter before and behind, three times the text"),
    "other numbers": Way(renumbered, "each number becomes another of as many digits"),
    "other names": Way(renamed, "listed names and companies become others"),
    "homophones": Way(homophone, "one Chinese character in six becomes another of the same sound"),
    "look-alikes": Way(lookalike, "one Chinese character in six becomes one that looks like it"),
    "negation": Way(negated, "a negation is put in; another label may be right", keeps_label=False),
}


def changed(texts: Sequence[str], way: Way, *, seed: int) -> list[str]:
    """Return every text written in this way, in order; each has a chance of its own, whatever stands before it."""
    return [way.change(text, np.random.default_rng([seed, number])) for number, text in enumerate(texts)]


def _other_number(digits: str, chance: Chance) -> str:
    first = str(int(chance.integers(1, 10))) if digits[0] != "0" else "0"
    found = first + "".join(str(int(digit)) for digit in chance.integers(0, 10, size=len(digits) - 1))
    return found if found != digits else found[:-1] + str((int(found[-1]) + 1) % 10 or 1)
