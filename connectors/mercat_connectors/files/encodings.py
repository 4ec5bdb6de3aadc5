"""Is this file in the encoding it is said to be in? Looked at before the first row, on a sample."""

from __future__ import annotations

import codecs
import re

from mercat.errors import ConfigError, DataError

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SURE_LETTERS = 20  # so many valid UTF-8 letters are no accident


def check_encoding(sample: bytes, encoding: str, *, file: str) -> None:
    """Refuse a file that is in another encoding; single bad rows are left to be rejected one by one.

    Errors: ConfigError for an unknown encoding, DataError that names the likely one.
    """
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        raise ConfigError(f"encoding = '{encoding}'", "Python knows no such encoding", 'encoding = "utf-8"') from None
    if is_wide(name):
        return
    likely = _by_bom(sample)
    if likely in ("utf-16", "utf-32"):
        raise _wrong(file, encoding, likely)
    lines = sample.splitlines()
    lines = lines[:-1] or lines  # the last one may be cut
    foreign = [line for line in lines if not line.isascii()]
    bad = [line for line in foreign if not _decodes(line, encoding)]
    if bad and (lines[0] in bad or len(bad) * 2 > len(lines) or (len(bad) >= 3 and len(bad) * 2 > len(foreign))):
        raise _wrong(file, encoding, likely_encoding(sample))
    if name not in ("utf-8", "utf-8-sig") and sum(_letters(line) for line in foreign) >= _SURE_LETTERS:
        raise _wrong(file, encoding, "utf-8")


def is_wide(encoding: str) -> bool:
    """Tell whether the bytes of a line end may be part of a letter, so that lines must be found after decoding."""
    return codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))


def likely_encoding(sample: bytes) -> str:
    """A guess, good enough for a message: by byte order mark, zero bytes, or which letters come out."""
    if found := _by_bom(sample):
        return found
    if sample[1::2].count(0) > len(sample) // 8:
        return "utf-16-le"
    if sample[0::2].count(0) > len(sample) // 8:
        return "utf-16-be"
    for encoding in ("utf-8", "gb18030", "big5", "shift_jis", "euc_kr"):
        whole = sample[: sample.rfind(b"\n") + 1] or sample  # the last line may be cut
        if _decodes(whole, encoding) and (encoding == "utf-8" or _looks_asian(whole)):
            return encoding
    return "cp1252"


def _looks_asian(data: bytes) -> bool:
    """Two-byte letters stand in a row; the accents of Western texts stand alone between plain letters."""
    runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", data)]
    return sum(run for run in runs if run >= 4) * 2 > sum(runs)


def _letters(line: bytes) -> int:
    """How many letters beyond ASCII a line holds, if it is UTF-8; far below 0 if it is not."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return -1_000
    return sum(ord(letter) > 127 for letter in text)


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _by_bom(sample: bytes) -> str:
    return next((name for bom, name in _BOMS if sample.startswith(bom)), "")


def _wrong(file: str, encoding: str, likely: str) -> DataError:
    return DataError(f"File '{file}' was read as {encoding}", f"It looks like {likely}", f'encoding = "{likely}"')
