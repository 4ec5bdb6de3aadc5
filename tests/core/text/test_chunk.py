import random
from itertools import pairwise

import pytest

from mercat.errors import ConfigError
from mercat.text import chunk, sentences
from mercat.values import Document

GUIDE = """# Cards

## Lost card

Freeze the card in the app. Then order a new one. It arrives within five days.

If the card was stolen, call us at once. We refund what the thief spent.

## 退款
退款一般需要三到五个工作日。如果超过七天仍未到账，请联系客服。

## Fees
"""


def random_text(rng: random.Random) -> str:
    parts = []
    for _ in range(rng.randrange(1, 12)):
        kind = rng.random()
        if kind < 0.2:
            parts.append("## " + "word " * rng.randrange(1, 6))
        elif kind < 0.6:
            parts.append(
                " ".join("w" * rng.randrange(1, 9) + rng.choice(["", ".", "?"]) for _ in range(rng.randrange(60)))
            )
        elif kind < 0.8:
            parts.append("".join(rng.choices("退款一般需要三到五个工作日。！", k=rng.randrange(200))))
        else:
            parts.append("x" * rng.randrange(300))
    return rng.choice(["\n", "\n\n"]).join(parts)


@pytest.mark.parametrize(("size", "overlap"), [(60, 0), (60, 20), (200, 50), (1000, 100), (5, 4)])
def test_passages_are_true_quotes_cover_everything_and_keep_the_size(size, overlap):
    rng = random.Random(size)
    for _ in range(60):
        document = Document("d", random_text(rng))
        passages = chunk(document, size=size, overlap=overlap)
        covered = set()
        for number, passage in enumerate(passages):
            assert passage.id == f"d#{number}"
            assert passage.document_id == "d"
            assert document.text[passage.start : passage.end] == passage.text
            assert 0 < len(passage.text) <= size
            covered.update(range(passage.start, passage.end))
        assert all(place in covered for place, character in enumerate(document.text) if not character.isspace())
        assert all(a.start < b.start and a.end < b.end for a, b in pairwise(passages))


def test_a_passage_does_not_reach_over_a_heading():
    passages = chunk(Document("guide", GUIDE), size=400, overlap=50)
    assert [(p.metadata["heading"], p.text.split("\n")[0]) for p in passages] == [
        ("Lost card", "# Cards"),
        ("退款", "## 退款"),
        ("Fees", "## Fees"),
    ]
    assert "stolen" in passages[0].text


def test_it_ends_at_a_paragraph_rather_than_in_the_next():
    passages = chunk(Document("guide", GUIDE), size=150, overlap=0)
    assert passages[0].text.endswith("It arrives within five days.")
    assert passages[1].text.startswith("If the card was stolen")


def test_neighbours_share_whole_sentences_within_the_overlap():
    text = " ".join(f"Sentence number {number:02d} is here." for number in range(40))
    passages = chunk(Document("d", text), size=150, overlap=40)
    whole = {piece.text for piece in sentences(text)}
    for left, right in pairwise(passages):
        shared = text[right.start : left.end]
        assert shared in whole
        assert len(shared) <= 40


@pytest.mark.parametrize("heading", ["第三章 售后服务", "二、退换货政策", "2.1 Returns", "Returns\n======="])
def test_other_forms_of_headings(heading):
    passages = chunk(Document("d", f"Some words before.\n\n{heading}\n\nWords after it.\n"), size=200, overlap=0)
    assert [p.metadata.get("heading") for p in passages] == [None, heading.split("\n")[0]]


def test_nothing_in_nothing_out_and_an_impossible_overlap_is_refused():
    assert chunk(Document("d", " \n ")) == []
    with pytest.raises(ConfigError, match="Passages of 100 characters cannot overlap by 100"):
        chunk(Document("d", "x"), size=100, overlap=100)
