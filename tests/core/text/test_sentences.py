import random

import pytest

from mercat.text import sentences

CASES = [
    ("Hello there. How are you? Fine!", ["Hello there.", "How are you?", "Fine!"]),
    ("Mr. Smith paid $3.50 to Dr. Jones. He left.", ["Mr. Smith paid $3.50 to Dr. Jones.", "He left."]),
    ("Nokia Inc. said so. The deal is off.", ["Nokia Inc. said so.", "The deal is off."]),
    ("It was made by Acme Inc. The deal is off.", ["It was made by Acme Inc.", "The deal is off."]),
    ("See e.g. the U.S. market, i.e. New York. Done.", ["See e.g. the U.S. market, i.e. New York.", "Done."]),
    ("J. K. Rowling wrote it. I read it.", ["J. K. Rowling wrote it.", "I read it."]),
    ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
    ("Wait... what? Really?!", ["Wait... what?", "Really?!"]),
    ("你好。我的卡丢了！怎么办？", ["你好。", "我的卡丢了！", "怎么办？"]),
    ("他说：“好的。”然后走了。", ["他说：“好的。”", "然后走了。"]),
    ("价格是3.5元。谢谢.再见", ["价格是3.5元。", "谢谢.", "再见"]),
    ("好吗?我等你!快点", ["好吗?", "我等你!", "快点"]),
    ("我用 iPhone 15。It works. 谢谢！", ["我用 iPhone 15。", "It works.", "谢谢！"]),
    ("First part\n\nSecond part", ["First part", "Second part"]),
    ("one line\nstill the same sentence.", ["one line\nstill the same sentence."]),
    ("  \n ", []),
    ("", []),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_sentences(text, expected):
    assert [piece.text for piece in sentences(text)] == expected


def test_offsets_are_true_and_only_white_space_lies_between():
    rng = random.Random(1)
    alphabet = ["Mr. ", "a. B", "。", "！”", "\n\n", " ", "北京", "ok", "?! ", "3.5", "...", "U.S. ", "\n", "“"]
    for _ in range(300):
        text, at = "".join(rng.choices(alphabet, k=25)), 0
        for piece in sentences(text):
            assert text[piece.start : piece.end] == piece.text == piece.text.strip() != ""
            assert not text[at : piece.start].strip()
            at = piece.end
        assert not text[at:].strip()
