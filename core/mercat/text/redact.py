"""Find personal identifiers by pattern and check digit, and put typed placeholders in their place.

It knows identifiers that have a form. It does not know names, street addresses, birthdays, spelled-out addresses
("name at host dot com"), IPv6, or the 15-digit Chinese ids issued before 1999, which have no check digit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mercat.errors import unknown_name
from mercat.text import identifiers
from mercat.text.normalise import narrow


@dataclass(frozen=True, slots=True)
class Span:
    """An identifier in a text: `text[start:end]`."""

    start: int
    end: int
    kind: str
    text: str


# The order settles overlaps: what proves itself with a check digit goes before what only looks right.
_FINDERS: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "email": identifiers.emails,
    "iban": identifiers.ibans,
    "cn_id": identifiers.chinese_ids,
    "card": identifiers.cards,
    "ipv4": identifiers.addresses,
    "cn_mobile": identifiers.chinese_mobiles,
    "phone": identifiers.phones,
}
KINDS: tuple[str, ...] = tuple(_FINDERS)


class Redactor:
    """Finds and replaces identifiers of the given kinds.

    `kinds` are "email", "iban" (ISO 13616, mod 97), "cn_id" (Chinese resident id, GB 11643-1999, with its check
    character), "card" (ISO/IEC 7812, issuer range and Luhn), "ipv4", "cn_mobile" and "phone". Raises UnknownName for
    any other.
    """

    def __init__(self, kinds: Sequence[str] = KINDS) -> None:
        for kind in kinds:
            if kind not in _FINDERS:
                raise unknown_name("kind of identifier", kind, KINDS, next=f"one of {', '.join(KINDS)}")
        self.kinds = tuple(kind for kind in KINDS if kind in kinds)

    def find(self, text: str) -> list[Span]:
        """Return the identifiers in order of their place. They do not overlap."""
        plain = narrow(text)
        taken, spans = bytearray(len(text)), []
        for kind in self.kinds:
            for start, end in _FINDERS[kind](plain):
                if not any(taken[start:end]):
                    taken[start:end] = b"\1" * (end - start)
                    spans.append(Span(start, end, kind, text[start:end]))
        return sorted(spans, key=lambda span: span.start)

    def redact(self, text: str) -> str:
        """Return the text with each identifier replaced by its kind, as in `[EMAIL]` or `[CN_ID]`."""
        parts, at = [], 0
        for span in self.find(text):
            parts += [text[at : span.start], f"[{span.kind.upper()}]"]
            at = span.end
        return "".join([*parts, text[at:]])
