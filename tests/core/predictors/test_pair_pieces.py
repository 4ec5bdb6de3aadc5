from __future__ import annotations

import pytest

pytest.importorskip("tokenizers")

from tokenizers import Tokenizer, models, pre_tokenizers, processors

from mercat.errors import ArtifactError
from mercat.predictors.pair_pieces import PairPieces

SPECIAL = [("[CLS]", 1), ("[SEP]", 2)]


def tokenizer(*, pair="[CLS] $A [SEP] $B:1 [SEP]:1", single="[CLS] $A [SEP]"):
    words = {word: number for number, word in enumerate(["[UNK]", "[CLS]", "[SEP]", *"abcdefgh"])}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=SPECIAL)
    return made


def pieces(made=None, **more):
    return PairPieces(made or tokenizer(), **{"max_tokens": 9, "lower_case": False, "types": True, **more})


def test_two_texts_are_one_sequence_as_the_tokenizer_makes_it():
    ids, types = pieces().rows([("a b", "c d e")])
    whole = tokenizer().encode("a b", "c d e")
    assert (ids[0], types[0]) == (whole.ids, whole.type_ids)


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ("a b c d e f g h", "a b", (4, 2)),
        ("a b", "a b c d e f g h", (2, 4)),
        ("a b c d e f g", "a b c d e f g", (3, 3)),
        ("", "a b c d e f g h", (0, 6)),
        ("", "", (0, 0)),
    ],
)
def test_the_longer_text_is_cut_first(first, second, kept):
    (ids,), _ = pieces().rows([(first, second)])
    assert len(ids) <= 9
    middle = ids.index(2)
    assert (middle - 1, len(ids) - middle - 2) == kept


def test_the_family_of_roberta_has_two_marks_between():
    ids, types = pieces(tokenizer(pair="[CLS] $A [SEP] [SEP] $B [SEP]"), types=False).rows([("a", "b")])
    assert ids == [[1, 3, 2, 2, 4, 2]]
    assert types is None


def test_a_tokenizer_without_a_template_for_pairs_reads_pairs():
    made = tokenizer(pair="$A $B:1")
    assert pieces(made).rows([("a", "b")])[0] == [[1, 3, 2, 4, 2]]


def test_a_tokenizer_without_marks_is_refused():
    with pytest.raises(ArtifactError, match="0 special tokens"):
        pieces(tokenizer(single="$A", pair="$A $B:1"))
