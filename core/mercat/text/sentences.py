"""Cut a text into sentences, English and its like by rules, Chinese by its own punctuation, and keep the offsets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text: `text[start:end]`, without white space at its ends."""

    text: str
    start: int
    end: int


_HAN = "\u3400-\u9fff"
_CLOSERS = "\"'”’」』）)】\\]》"
_END = re.compile(
    rf"(?P<cjk>[。！？｡]+[{_CLOSERS}]*)"
    rf"|(?<=[{_HAN}])(?P<mixed>[!?]+[{_CLOSERS}]*|\.(?=[{_HAN}]))"
    rf"|(?P<latin>[.!?…]+[{_CLOSERS}]*)(?=\s)"
    r"|(?P<gap>\n\s*\n)"
)
_BEFORE_DOT = re.compile(r"(?:^|[\s(\[\"'“])([A-Za-z][A-Za-z.]*)$")
_ABBREVIATIONS = (
    "mr mrs ms dr prof st sr jr vs etc e.g i.e cf no nos fig eq approx dept est inc ltd co corp bros plc u.s u.k u.n "
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun a.m p.m gen col sen rep gov rev hon "
    "vol pp ed eds al resp incl excl tel ext z.b d.h bzw ca usw nr str"
)
_NO_END = frozenset(_ABBREVIATIONS.split())
_LOWER_NEXT = re.compile(r"\s+[a-zà-öø-ÿ]")
_ENDS_OFTEN = frozenset(("etc", "inc", "ltd", "co", "corp", "plc", "u.s", "u.k", "u.n", "a.m", "p.m", "al", "usw"))
_CAPITAL_NEXT = re.compile(r"\s+[\"'“(]?(?:The|This|That|It|He|She|We|They|I|In|But|And|A|An|You|If|Please)\b")


def sentences(text: str) -> list[Piece]:
    """Return the sentences in order; `text[piece.start:piece.end] == piece.text`, and only white space lies between.

    A sentence ends at 。！？ with what closes after it, at . ! ? … before white space unless an abbreviation, an
    initial or a lower-case word speaks against it, and at an empty line. Semicolons and single line ends do not end it.
    """
    pieces, start = [], 0
    for end in (*_ends(text), len(text)):
        piece = trimmed(text, start, end)
        if piece is not None:
            pieces.append(piece)
        start = end
    return pieces


def trimmed(text: str, start: int, end: int) -> Piece | None:
    """Return text[start:end] without white space at its ends, or None when nothing is left."""
    part = text[start:end]
    left = len(part) - len(part.lstrip())
    part = part.strip()
    return Piece(part, start + left, start + left + len(part)) if part else None


def _ends(text: str) -> Iterator[int]:
    for match in _END.finditer(text):
        if match["latin"] and not _really_ends(text, match):
            continue
        yield match.start() if match["gap"] else match.end()


def _really_ends(text: str, match: re.Match[str]) -> bool:
    if match["latin"][0] in "!?":
        return not _LOWER_NEXT.match(text, match.end()) or match["latin"][-1] in "!?"
    if _LOWER_NEXT.match(text, match.end()):
        return False
    if match["latin"] != ".":
        return True
    before = _BEFORE_DOT.search(text, max(0, match.start() - 12), match.start())
    if before is None:
        return True
    word = before[1]
    if word.lower() in _ENDS_OFTEN:
        return _CAPITAL_NEXT.match(text, match.end()) is not None
    initial = len(word) == 1 and word.isupper() and word != "I"
    return not (initial or word.lower() in _NO_END)
