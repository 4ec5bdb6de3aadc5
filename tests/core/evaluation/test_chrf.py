"""chrF against values worked out by hand, and what it must not depend on."""

import pytest

from mercat.evaluation.chrf import chrf


def test_equal_texts_are_alike_and_foreign_ones_are_not():
    assert chrf("the parcel is here", "the parcel is here") == 1.0
    assert chrf("包裹已经到了", "包裹已经到了") == 1.0
    assert chrf("abc", "xyz") == 0.0
    assert chrf("", "") == 1.0
    assert chrf("", "abc") == chrf("abc", "") == 0.0


def test_a_value_worked_out_by_hand():
    # single letters: 2 of 2 found ones are right, 2 of 3 wanted ones are found; pairs: 1 of 1, 1 of 2; triples: 0, 0 of 1
    precision, recall = (1 + 1 + 0) / 3, (2 / 3 + 1 / 2 + 0) / 3
    assert chrf("ab", "abc") == pytest.approx(5 * precision * recall / (4 * precision + recall))


def test_what_is_missing_costs_more_than_what_is_too_much():
    assert chrf("your card is on its way", "your card is on its way to you") < chrf(
        "your card is on its way to you", "your card is on its way"
    )


def test_white_space_makes_no_difference():
    assert chrf("on its way", "on  itsway\n") == 1.0
