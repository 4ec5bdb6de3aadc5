from __future__ import annotations

import pytest

from mercat.evaluation.spans import entity_f1, span_differences, tagging

# the example of seqeval's README: F1 0.50, and 0.00 for MISC, 1.00 for PER
TRUE = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
FOUND = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]


def test_the_published_example():
    metrics = tagging(TRUE, FOUND)
    assert metrics["entity_f1"].value == metrics["entity_precision"].value == metrics["entity_recall"].value == 0.5
    assert (metrics["f1.MISC"].value, metrics["f1.PER"].value) == (0.0, 1.0)
    assert (metrics["f1.MISC"].n, metrics["entity_f1"].n) == (1, 2)
    assert metrics["token_micro_f1"].value == pytest.approx(8 / 10)
    assert entity_f1(TRUE, FOUND) == 0.5


def test_precision_and_recall_differ_when_too_much_is_found():
    metrics = tagging([["B-A", "O", "O"]], [["B-A", "B-A", "B-B"]])
    assert metrics["entity_precision"].value == pytest.approx(1 / 3)
    assert metrics["entity_recall"].value == 1
    assert metrics["f1.B"].value == 0
    assert metrics["token_macro_f1"].value == pytest.approx((2 / 3 + 0 + 0) / 3)


def test_nothing_there_and_nothing_found_is_no_number_out_of_range():
    assert entity_f1([["O"]], [["O"]]) == 0.0
    assert tagging([["O"]], [["O"]])["entity_f1"].value == 0.0


def test_intervals_and_differences_draw_whole_texts():
    true, ours = [["B-A", "O"]] * 40, [["B-A", "O"]] * 36 + [["O", "O"]] * 4
    theirs = [["O", "B-A"]] * 40
    metric = tagging(true, ours)["entity_recall"]
    assert metric.value == 0.9
    assert metric.low < 0.9 < metric.high
    differences = span_differences(true, ours, theirs)
    assert differences["entity_f1"].value == pytest.approx(2 * 36 / 76)
    assert differences["entity_f1"].low > 0
    assert differences["token_micro_f1"].value == pytest.approx(76 / 80)
