"""One way to write a text: composed characters, plain white space, nothing invisible."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

# Full-width forms of printable ASCII sit at a fixed distance, and the ideographic space stands for a blank.
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_KEPT_FORMAT = {"\u200c", "\u200d"}  # joiners carry meaning in Persian, Indic scripts and emoji
_BLANKS = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n ?")
_GAPS = re.compile(r"\n{3,}")


def normalise(text: str, *, form: Literal["NFKC", "NFC"] = "NFKC") -> str:
    """Return the text in a Unicode normal form, without control characters and with folded white space.

    Runs of blanks become one blank and three or more line ends become two; line ends are kept because chunking reads
    them. "NFKC" also turns full-width letters, digits and punctuation into plain ones ("，" into ","); "NFC" keeps
    them, for texts that are shown again. Applying it twice changes nothing more. Lengths change: take offsets later.
    """
    text = unicodedata.normalize(form, text.replace("\r\n", "\n").replace("\r", "\n"))
    text = "".join(character for character in text if _visible(character))
    text = unicodedata.normalize(form, text)  # what an invisible character kept apart may compose now
    text = _LINES.sub("\n", _BLANKS.sub(" ", text))
    return _GAPS.sub("\n\n", text).strip()


def narrow(text: str) -> str:
    """Return the text with full-width letters, digits and punctuation made plain, character by character.

    The length stays, so offsets into the result are offsets into `text`.
    """
    return text.translate(_NARROW)


def _visible(character: str) -> bool:
    if character in "\n\t" or character in _KEPT_FORMAT:
        return True
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn")
