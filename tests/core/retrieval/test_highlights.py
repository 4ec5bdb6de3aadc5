"""A hit says what in its text was found: the words, or the sentence that is nearest."""

import pytest

from mercat.indexes.exact import Exact
from mercat.retrieval.highlights import highlighted
from mercat.retrieval.hybrid import Hybrid
from mercat.values import Document, Hit
from mercat.web.schema import to_json

TEXT = "We are open daily. Ordering a replacement takes a week. Fees are listed elsewhere."


def shown(hit):
    return [hit.text[start:end] for start, end in hit.spans]


def test_words_that_are_shared_are_marked():
    ((hit,),) = highlighted(["how long does the replacement of a card take"], [[Hit("a", 1.0, TEXT)]], stems=True)
    assert shown(hit) == ["replacement takes"] or shown(hit) == ["replacement", "takes"]


def test_what_was_found_by_meaning_shows_its_nearest_sentence(encoder):
    hits = [[Hit("a", 1.0, TEXT), Hit("b", 1.0, "")], [Hit("c", 1.0, TEXT)]]
    found = highlighted(["replacing", "open"], hits, encoder=encoder)
    assert [shown(hit) for hit in found[0]] == [["Ordering a replacement takes a week."], []]
    assert shown(found[1][0]) == ["open"]
    assert encoder.roles == {"query", "document"}
    assert "open" not in encoder.texts, "words were found, so nothing is encoded"


def test_without_an_encoder_nothing_is_made_up():
    assert highlighted(["replacing"], [[Hit("a", 1.0, TEXT)]])[0][0].spans == ()


@pytest.mark.parametrize("highlight", [False, True])
def test_a_hybrid_highlights_where_it_is_asked_to(store, tmp_path, encoder, highlight):
    store.upsert([Document("a", TEXT, title="Replacement"), Document("zh", "银行卡丢失后如何挂失")], collection="help")
    retriever = Hybrid(encoder, Exact(tmp_path / "i", "help"), store, collection="help", highlight=highlight)
    retriever.refresh()
    first, chinese = retriever.search("a replacement", k=1)[0], retriever.search("怎么挂失", k=1)[0]
    assert shown(first) == (["replacement"] if highlight else []), "the title is no part of the text"
    assert shown(chinese) == (["挂失"] if highlight else [])
    assert to_json(first)["spans"] == [list(span) for span in first.spans]
