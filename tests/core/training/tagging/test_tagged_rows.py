from __future__ import annotations

import pytest

from mercat.errors import DataError
from mercat.training.tagging.gazetteer import Gazetteer
from mercat.training.tagging.rows import Tagged, TagReader, digested
from mercat.values import Example


def read(text, reader=None, **metadata):
    return (reader or TagReader()).read(Example("r", text, "t", metadata=metadata))


def words(tagged):
    return [tagged.text[start:end] for start, end in tagged.words]


@pytest.mark.parametrize(
    ("given", "tags"),
    [
        ("B-PER I-PER O B-LOC", "B-PER I-PER O B-LOC"),
        ("I-PER I-PER O I-LOC", "B-PER I-PER O B-LOC"),  # IOB1
        ("I-PER B-PER I-LOC I-LOC", "B-PER B-PER B-LOC I-LOC"),
        ("B-PER E-PER O S-LOC", "B-PER I-PER O B-LOC"),  # BIOES
        ("B-PER L-PER O U-LOC", "B-PER I-PER O B-LOC"),  # BILOU
        ("B-PER M-PER E-PER O", "B-PER I-PER I-PER O"),
    ],
)
def test_every_scheme_becomes_bio(given, tags):
    assert list(read("a b c d", tokens="a b c d", tags=given).tags) == tags.split()


def test_iob1_is_noted():
    reader = TagReader()
    read("a b", reader, tokens=["a", "b"], tags=["I-PER", "O"])
    assert reader.notes() == ["1 tags began an entity with I-, as IOB1 does; they were read as B-"]


def test_tokens_are_found_in_the_text_with_or_without_spaces():
    tagged = read("李雷在 北京", tokens=["李", "雷", "在", "北", "京"], tags=["B-PER", "I-PER", "O", "B-LOC", "I-LOC"])
    assert words(tagged) == ["李", "雷", "在", "北", "京"]
    assert words(read("(EU) it's", tokens=["(", "EU", ")", " ", "it's"], tags=["O", "B-ORG", "O", "O", "O"])) == [
        "(",
        "EU",
        ")",
        "it's",
    ]
    assert words(read("a b", tokens='["a", "b"]', tags="O O")) == ["a", "b"]


def test_spans_of_characters_become_tags_of_words():
    text = "Maria Silva flew to Oslo."
    listed = [{"start": 0, "end": 11, "label": "PER"}, {"start": 20, "end": 24, "label": "LOC"}]
    tagged = read(text, entities=listed)
    assert words(tagged) == ["Maria", "Silva", "flew", "to", "Oslo", "."]
    assert tagged.tags == ("B-PER", "I-PER", "O", "O", "B-LOC", "O")


def test_spans_that_do_not_fit_words_are_noted():
    reader = TagReader()
    listed = [
        {"start": 0, "end": 3, "label": "A"},
        {"start": 2, "end": 9, "label": "B"},
        {"start": 5, "end": 6, "label": "C"},
    ]
    assert read("Maria Silva", reader, entities=listed).tags == ("B-A", "O")
    assert [note.split(" ", 1)[0] for note in reader.notes()] == ["1", "1", "1"]


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ({}, "neither 'tokens' and 'tags' nor 'entities'"),
        ({"tokens": ["a", "b"], "tags": ["O"]}, "2 tokens and 1 tags"),
        ({"tokens": ["a", "b"], "tags": ["O", "PER"]}, "the tag 'PER'"),
        ({"tokens": ["a", "b"], "tags": ["O", "X-PER"]}, "the tag 'X-PER'"),
        ({"tokens": ["a", "c"], "tags": ["O", "O"]}, "the token 'c'"),
        ({"entities": [{"start": 0, "end": 99, "label": "A"}]}, "from 0 to 99"),
        ({"entities": [{"start": 0}]}, "KeyError"),
        ({"entities": "no json"}, "JSONDecodeError"),
        ({"entities": [{"start": 0, "end": 1, "label": " "}]}, "label ''"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_row(metadata, found):
    with pytest.raises(DataError, match=found) as caught:
        read("a b", **metadata)
    assert "Row 'r'" in str(caught.value)
    assert caught.value.next


def test_other_columns_can_be_named():
    reader = TagReader(tokens="words", tags="ner_tags")
    assert read("a b", reader, words=["a", "b"], ner_tags=["O", "B-A"]).tags == ("O", "B-A")


def test_a_change_of_tags_changes_the_row():
    row = Example("r", "a b", "t")
    assert digested(row, Tagged("a b", (), ("O", "B-A"))).label == "O B-A"


def test_the_gazetteer_finds_the_longest_entity_that_mostly_was_one():
    def text(*pairs):
        return read(" ".join(word for word, _ in pairs), tokens=[w for w, _ in pairs], tags=[t for _, t in pairs])

    simple = Gazetteer(
        [
            text(("New", "B-LOC"), ("York", "I-LOC"), ("in", "O"), ("May", "O")),
            text(("May", "B-PER"), ("in", "O"), ("May", "O"), ("York", "B-ORG")),
        ]
    )
    asked = text(("May", "O"), ("saw", "O"), ("New", "O"), ("York", "O"), ("York", "O"))
    assert simple.tags(asked) == ["O", "O", "B-LOC", "I-LOC", "B-ORG"]
