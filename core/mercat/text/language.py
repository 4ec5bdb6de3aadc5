"""Guess the language of a text from its script, and among Latin ones from its small words. No model, no network.

Limits: one answer per text. Scripts that several languages share go to the most spread one (Cyrillic to "ru", Arabic
to "ar", Devanagari to "hi"); traditional and simplified Chinese are both "zh"; Han characters without kana are "zh",
also in a Japanese headline. Latin text is one of en de fr es it pt nl; with no small word to go by it is "en" when it
is plain ASCII of two words or more, and otherwise "".
"""

from __future__ import annotations

import re
from collections import Counter

_SCRIPTS = (
    ("kana", re.compile(r"[\u3040-\u30ff\uff66-\uff9f]")),
    ("han", re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")),
    ("ko", re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")),
    ("ru", re.compile(r"[\u0400-\u052f]+")),
    ("el", re.compile(r"[\u0370-\u03ff]+")),
    ("he", re.compile(r"[\u0590-\u05ff]+")),
    ("ar", re.compile(r"[\u0600-\u06ff\u0750-\u077f]+")),
    ("hi", re.compile(r"[\u0900-\u097f]+")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
)
_LATIN_WORD = re.compile(r"[A-Za-zÀ-ɏ]+(?:['’][A-Za-z]+)?")
_SMALL_WORDS = {
    "en": "the of and to in is are was were it this that my your i you we have has do does did not can what how why "
    "when where with for on at be been will would an from there please still get",
    "de": "der die das und ist nicht ich sie wir ein eine mit auf für von zu den dem im wie was kann mein meine haben "
    "habe hat wird bitte auch noch aber",
    "fr": "le la les des et est une je vous nous pas que qui dans pour sur avec mon ma mes ce cette du au aux comment "
    "puis sont ne plus très",
    "es": "el la los las y es una yo no que en por para con mi mis su se lo del al cómo qué está muy pero como más son",
    "it": "il lo gli e è una io non che di per con mio mia si del della al come cosa sono ho questo più ma anche nel",
    "pt": "o os as e é uma eu não que em por para com meu minha se do da ao como você está mais mas são foi no na",
    "nl": "de het een en is niet ik je we van op met voor mijn dat die wat hoe kan naar ook zijn heb maar nog bij",
}
_LANGUAGES_OF = {
    word: tuple(language for language, words in _SMALL_WORDS.items() if word in words.split())
    for words in _SMALL_WORDS.values()
    for word in words.split()
}


def detect(text: str) -> str:
    """Return an ISO 639-1 code ("zh", "en", "ja", …), or "" when there is nothing to go by.

    Han characters are counted one by one and other scripts by the word, so a Chinese question about an "iPhone 15 Pro
    Max" is Chinese and an English sentence that quotes 北京 is English.
    """
    counts = {name: len(pattern.findall(text)) for name, pattern in _SCRIPTS}
    words = _LATIN_WORD.findall(text)
    if counts["kana"] and counts["kana"] * 5 >= counts["han"]:
        counts["ja"] = counts["kana"] + counts["han"]
    else:
        counts["zh"] = counts["han"]
    del counts["kana"], counts["han"]
    best = max(counts, key=lambda name: counts[name])
    if counts[best] >= max(len(words), 1):
        return best
    return _latin(words)


def _latin(words: list[str]) -> str:
    votes: Counter[str] = Counter()
    for word in words:
        spoken = _LANGUAGES_OF.get(word.lower(), ())
        for language in spoken:
            votes[language] += 60 // len(spoken)  # a word of one language alone says the most
    if votes:
        return votes.most_common(1)[0][0]
    return "en" if len(words) > 1 and all(word.isascii() for word in words) else ""
