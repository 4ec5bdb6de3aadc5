"""The examples of Porter's paper, step by step, and what is left alone."""

import pytest

from mercat.text import keywords
from mercat.text.stems import stem

EXAMPLES = """
caresses caress, ponies poni, caress caress, cats cat, feed feed, agreed agre, plastered plaster, bled bled,
motoring motor, sing sing, conflated conflat, troubled troubl, sized size, hopping hop, tanned tan, falling fall,
hissing hiss, fizzed fizz, failing fail, filing file, happy happi, sky sky, relational relat, conditional condit,
rational ration, valenci valenc, digitizer digit, conformabli conform, radicalli radic, vileli vile, analogousli analog,
vietnamization vietnam, predication predic, operator oper, feudalism feudal, decisiveness decis, hopefulness hope,
callousness callous, formaliti formal, sensitiviti sensit, sensibiliti sensibl, triplicate triplic, formative form,
formalize formal, electriciti electr, electrical electr, hopeful hope, goodness good, revival reviv, allowance allow,
inference infer, airliner airlin, gyroscopic gyroscop, adjustable adjust, defensible defens, irritant irrit,
replacement replac, adjustment adjust, dependent depend, adoption adopt, homologou homolog, communism commun,
activate activ, angulariti angular, homologous homolog, effective effect, bowdlerize bowdler, probate probat,
rate rate, cease ceas, controll control, roll roll, generalizations gener, oscillators oscil
"""


@pytest.mark.parametrize("pair", [pair.split() for pair in EXAMPLES.split(",")], ids="-".join)
def test_the_examples_of_the_paper(pair):
    word, expected = pair
    assert stem(word) == expected


@pytest.mark.parametrize("word", ["", "is", "a4b", "top-up", "café", "退款", "PIN", "3.14"])
def test_what_is_no_plain_word_stays(word):
    assert stem(word) == word


def test_keywords_meet_by_their_stems():
    assert keywords("retrieving", stems=True) == keywords("Retrieval's", stems=True)[:1] == ["retriev"]
    assert keywords("the cards of 2024 退款", stems=True, stopwords=False, chinese="bigrams") == [
        "card",
        "2024",
        "退款",
    ]


def test_nothing_but_stopwords_is_kept():
    assert keywords("to be or not to be", stopwords=False) == keywords("to be or not to be")
