"""Words and windows: what the model reads is what the text says, each word answered for once."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tokenizers")

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from mercat.errors import ArtifactError
from mercat.predictors.words import WordPieces, split_words


def tokenizer(*, lower=True, special=True):
    vocabulary = {
        word: n
        for n, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "oslo", "Oslo", "play", "##ing", "北", "."])
    }
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=lower)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if special:
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return made


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("U.N. official Ekeus heads for Baghdad.", ["U.N.", "official", "Ekeus", "heads", "for", "Baghdad", "."]),
        ("EU's 3.5% (AT&T) at 10:30", ["EU", "'s", "3.5", "%", "(", "AT&T", ")", "at", "10:30"]),
        ("don't O'Neil well-known", ["don't", "O'Neil", "well-known"]),
        ("李雷在Oslo工作。", ["李", "雷", "在", "Oslo", "工", "作", "。"]),
        (" \n ", []),
    ],
)
def test_a_text_falls_into_words(text, words):
    assert [text[start:end] for start, end in split_words(text)] == words


def test_one_window_has_the_tokens_of_the_text():
    pieces = WordPieces(tokenizer(), max_tokens=16, lower_case=False)
    text = "Oslo playing 北."
    (window,) = pieces.windows(text, split_words(text))
    assert window.ids == [2, 4, 6, 7, 8, 9, 3]
    assert window.places == [1, 2, 4, 5]
    assert window.kinds == [0, 2, 1, 1, 0, 0, 0]
    assert window.first == 0


@pytest.mark.parametrize("size", [8, 12, 40])
@pytest.mark.parametrize("seed", range(6))
def test_windows_answer_for_every_word_once_and_never_grow(size, seed):
    random = np.random.default_rng(seed)
    words = [str(random.choice(["oslo", "playing", "playing" + "ing" * 40, "北"])) for _ in range(300)]
    text = " ".join(words)
    windows = WordPieces(tokenizer(), max_tokens=size, lower_case=False).windows(text, split_words(text))
    assert max(len(window.ids) for window in windows) <= size
    answered = [window.first + n for window in windows for n in range(len(window.places))]
    assert answered == list(range(300))
    for window in windows:
        assert len(window.kinds) == len(window.ids)
        assert all(0 < place < len(window.ids) - 1 for place in window.places)


def test_words_at_a_border_are_seen_with_what_follows_them():
    text = "oslo " * 200
    windows = WordPieces(tokenizer(), max_tokens=42, lower_case=False).windows(text, split_words(text))
    assert all(window.places[-1] < len(window.ids) - 5 for window in windows[:-1])
    assert all(window.places[0] > 4 for window in windows[1:])


def test_a_word_without_tokens_is_an_unknown_one():
    pieces = WordPieces(tokenizer(), max_tokens=16, lower_case=False)
    (window,) = pieces.windows("\u200b oslo \ud800", [(0, 1), (2, 6), (7, 8)])
    assert window.ids == [2, 1, 4, 1, 3]


def test_a_tokenizer_that_drops_case_is_known():
    assert WordPieces(tokenizer(), max_tokens=16, lower_case=False).blind_to_case()
    assert WordPieces(tokenizer(lower=False), max_tokens=16, lower_case=True).blind_to_case()
    cased = tokenizer(lower=False)
    cased.add_tokens(["Paris", "paris"])
    assert not WordPieces(cased, max_tokens=16, lower_case=False).blind_to_case()


def test_a_tokenizer_without_borders_is_refused():
    with pytest.raises(ArtifactError, match="0 special tokens"):
        WordPieces(tokenizer(special=False), max_tokens=16, lower_case=False)
