import random
import unicodedata

import pytest

from mercat.text import narrow, normalise


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ＡＢＣ１２３，ｏｋ", "ABC123,ok"),
        ("cafe\u0301", "café"),
        ("a\u200bb\ufeffc\u00ad", "abc"),
        ("a\x00b\x1b[0m", "ab[0m"),
        ("one \t\u00a0 two\u3000three", "one two three"),
        ("a \r\n b\r\r\r\rc", "a\nb\n\nc"),
        ("  x  ", "x"),
        ("👨‍👩‍👧 ok", "👨‍👩‍👧 ok"),
        ("", ""),
    ],
)
def test_normalise(text, expected):
    assert normalise(text) == expected


def test_nfc_keeps_chinese_punctuation():
    assert normalise("你好，世界！", form="NFC") == "你好，世界！"
    assert normalise("你好，世界！") == "你好,世界!"


def test_twice_is_once_for_any_characters():
    rng = random.Random(3)
    ranges = [(0, 0x250), (0x300, 0x370), (0x2000, 0x2070), (0x3000, 0x3100), (0x4E00, 0x4E80), (0xFF00, 0xFFF0)]
    for _ in range(400):
        text = "".join(chr(rng.randrange(*rng.choice(ranges))) for _ in range(30))
        once = normalise(text)
        assert normalise(once) == once
        assert unicodedata.is_normalized("NFKC", once)


def test_narrow_keeps_the_length():
    assert narrow("电话：１３８　ＡＢ") == "电话:138 AB"
    assert len(narrow("ﬀ①é")) == 3
