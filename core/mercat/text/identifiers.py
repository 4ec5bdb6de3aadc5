"""The forms and check digits of identifiers. Each function yields (start, end) in a text without full-width digits.

Chinese characters count as letters for `\\b`, so every border here is spelled out as "no ASCII letter or digit".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

Place = tuple[int, int]

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+\-À-ɏ])[A-Za-z0-9._%+\-À-ɏ]++@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])"
)
_DIGIT_RUN = re.compile(r"(?<![A-Za-z0-9])(?<!\d[.])\d++(?![A-Za-z])(?:[ -]\d++(?![A-Za-z]))*+")
_CHINESE_ID = re.compile(r"(?<![A-Za-z0-9])[1-8]\d{5}(?:18|19|20)\d{9}[0-9Xx](?![A-Za-z0-9])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2})\d{2}(?=[ -]?[A-Za-z0-9])")
_IPV4 = re.compile(
    r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![A-Za-z0-9]|\.\d)", re.A
)
_VERSION_BEFORE = re.compile(r"(?:version|ver\.?|release|build|firmware|版本号?|固件)[\s:：]*[vV]?$", re.I)
_MOBILE = re.compile(
    r"(?<![A-Za-z0-9+])(?<!\d[.\- ])(?:(?:\+|00)?86[ -]?)?"
    r"1[3-9]\d(?P<gap>[ -]?)\d{4}(?P=gap)\d{4}(?![A-Za-z0-9]|[.-]\d)"
    r"|(?<![A-Za-z0-9])\+86[ -]?1[3-9]\d(?P<gap2>[ -]?)\d{4}(?P=gap2)\d{4}(?![A-Za-z0-9])"
)

_START, _STOP = r"(?<![A-Za-z0-9+])(?<!\d[ .\-/])", r"(?![A-Za-z0-9]|[.\-/]\d)"
_PHONES = (
    # E.164 with its plus or 00: country code, then groups
    re.compile(r"(?<![A-Za-z0-9+])\+[1-9]\d{0,2}(?:[ .\-]?\(?\d{1,5}\)?){1,6}(?![A-Za-z0-9])"),
    re.compile(_START + r"00[1-9]\d{0,2}(?:[ \-]\(?\d{2,5}\)?){2,5}" + _STOP),
    # North America
    re.compile(r"(?<![A-Za-z0-9+])(?:1[ .\-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .\-])[2-9]\d{2}[ .\-]\d{4}" + _STOP),
    # a trunk zero and an area code, then the number in one to three groups; with or without brackets
    re.compile(_START + r"(?:\(0\d{1,4}\)[ \-]?|0\d{1,4}[ \-/])\d{3,8}(?:[ \-]\d{2,5}){0,2}" + _STOP),
    # France and its like: pairs
    re.compile(_START + r"0[1-9](?:[ .\-]\d{2}){4}" + _STOP),
    # Chinese service numbers
    re.compile(_START + r"[48]00[ -]\d{3}[ -]?\d{4}" + _STOP),
)
# A bare number is a telephone number when the words before it say so.
_ANNOUNCED = re.compile(
    r"(?:\b(?:tele)?phone|\btel|\bcall(?: (?:me|us|him|her|them|back))?|\bmobile|\bcell|\bfax|\bwhatsapp"
    r"|\bhandy|\bteléfono|\btelefon|电话|手机|座机|传真|致电|热线)"
    r"(?:[\s.:：=#]|\bnumber\b|\bnummer\b|\bno\b|\bis\b|\bat\b|\bon\b|\bist\b|\bes\b|号码|号|是|为|码){0,8}"
    r"(?P<number>\d(?:[ .\-]?\d){6,14})(?![A-Za-z0-9]|[.\-/]\d)",
    re.I,
)

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_REGIONS = frozenset(
    (*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82, 83)
)
# ISO 13616 registry: length of an IBAN per country
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU XK MN",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS", 23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


def emails(text: str) -> Iterator[Place]:
    """Addresses of the form local@domain.tld, without the full stop that ends a sentence."""
    for match in _EMAIL.finditer(text):
        yield match.span()


def cards(text: str) -> Iterator[Place]:
    """Payment cards: an issuer's prefix and length, and the Luhn check (ISO/IEC 7812-1)."""
    for run in _DIGIT_RUN.finditer(text):
        yield from _cards_in(text, *run.span())


def ibans(text: str) -> Iterator[Place]:
    """IBANs in one piece or in groups: the length of their country and mod 97 = 1 (ISO 13616)."""
    for match in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(match[1].upper())
        end = _advance(text, match.start(), length) if length else None
        if end and _mod97(text[match.start() : end]) == 1:
            yield match.start(), end


def chinese_ids(text: str) -> Iterator[Place]:
    """Chinese resident ids: region, real birthday, ISO 7064 MOD 11-2 check character (GB 11643-1999)."""
    for match in _CHINESE_ID.finditer(text):
        if _is_chinese_id(match[0].upper()):
            yield match.span()


def chinese_mobiles(text: str) -> Iterator[Place]:
    """Mobile numbers of mainland China, with or without country code, in one piece or as 3-4-4."""
    for match in _MOBILE.finditer(text):
        yield match.span()


def addresses(text: str) -> Iterator[Place]:
    """IPv4 addresses; four numbers that words announce as a version are left alone."""
    for match in _IPV4.finditer(text):
        if not _VERSION_BEFORE.search(text, max(0, match.start() - 16), match.start()):
            yield match.span()


def phones(text: str) -> Iterator[Place]:
    """Telephone numbers: with a country code, in a national form with separators, or announced by a word."""
    for pattern in _PHONES:
        for match in pattern.finditer(text):
            if 8 <= sum(character.isdigit() for character in match[0]) <= 15:
                yield match.span()
    for match in _ANNOUNCED.finditer(text):
        yield match.span("number")


def _cards_in(text: str, start: int, end: int) -> Iterator[Place]:
    """Try every stretch of whole digit groups: a date may stand right behind a card number."""
    groups = [(found.start(), found.end()) for found in re.compile(r"\d+").finditer(text, start, end)]
    first = 0
    while first < len(groups):
        last = _card_end(text, groups, first)
        if last is None:
            first += 1
        else:
            yield groups[first][0], groups[last][1]
            first = last + 1


def _card_end(text: str, groups: list[Place], first: int) -> int | None:
    """Return the last group of the longest card number that begins with group `first`."""
    digits, found = "", None
    for last in range(first, len(groups)):
        digits += text[slice(*groups[last])]
        if len(digits) > 19:
            break
        if _is_card(digits):
            found = last
    return found


def _is_card(digits: str) -> bool:
    return _issued(digits) and _luhn(digits)


def _issued(digits: str) -> bool:
    length, two, three, four = len(digits), int(digits[:2]), int(digits[:3]), int(digits[:4])
    if digits[0] == "4":
        return length in (13, 16, 19)  # Visa
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return length == 16  # Mastercard
    if two in (34, 37):
        return length == 15  # American Express
    if two in (36, 38, 39) or 300 <= three <= 305:
        return 14 <= length <= 19  # Diners Club
    if 3528 <= four <= 3589 or two in (60, 62, 64, 65):
        return 16 <= length <= 19  # JCB, Discover, UnionPay, RuPay
    return two in (50, 56, 57, 58, 63, 67) and 12 <= length <= 19  # Maestro


def _luhn(digits: str) -> bool:
    values = [int(digit) for digit in reversed(digits)]
    doubled = (value * 2 - 9 if value > 4 else value * 2 for value in values[1::2])
    return (sum(values[::2]) + sum(doubled)) % 10 == 0


def _is_chinese_id(code: str) -> bool:
    if int(code[:2]) not in _ID_REGIONS:
        return False
    try:
        date(int(code[6:10]), int(code[10:12]), int(code[12:14]))
    except ValueError:
        return False
    remainder = sum(int(digit) * weight for digit, weight in zip(code, _ID_WEIGHTS, strict=False)) % 11
    return code[17] == "10X98765432"[remainder]


def _advance(text: str, start: int, length: int) -> int | None:
    """Return the end of `length` letters and digits from `start`, over single blanks or hyphens between them."""
    count, at = 0, start
    while at < len(text) and count < length:
        if text[at].isascii() and text[at].isalnum():
            count += 1
        elif text[at] not in " -" or text[at - 1] in " -":
            return None
        at += 1
    whole = count == length and not (at < len(text) and text[at].isascii() and text[at].isalnum())
    return at if whole else None


def _mod97(code: str) -> int:
    plain = re.sub(r"[ -]", "", code).upper()
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97
