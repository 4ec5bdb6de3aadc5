"""Figures per slice, and gaps that are more than luck."""

from __future__ import annotations

import numpy as np
import pytest

from mercat.audit.base import Scored
from mercat.audit.slices import by_column, columns_of, slices_of
from mercat.values import Example


def scored(right: list[bool], confident: list[float], **columns: list[object]) -> Scored:
    rows = [
        Example(str(at), "where is my card", "a", metadata={name: values[at] for name, values in columns.items()})
        for at in range(len(right))
    ]
    scores = [[sure, 1 - sure] if ok else [1 - sure, sure] for ok, sure in zip(right, confident, strict=True)]
    return Scored(rows, ("a", "b"), np.array(scores, dtype=np.float32), threshold=0.7)


def test_each_slice_has_its_own_figures() -> None:
    rows = scored([True, True, False, True, False], [0.9, 0.6, 0.8, 0.9, 0.6])
    found = slices_of(rows, "shop", ["x", "x", "x", "y", "y"], least_rows=2)
    x, y = found.slices
    assert (x.value, x.rows, x.accuracy.value) == ("x", 3, pytest.approx(2 / 3))
    assert (x.coverage.value, x.covered_error.value) == (pytest.approx(2 / 3), 0.5)
    assert (y.accuracy.value, y.coverage.value, y.covered_error.value) == (0.5, 0.5, 0.0)
    assert (found.best, found.worst, found.gap) == ("x", "y", pytest.approx(1 / 6))


def test_a_gap_is_held_against_luck() -> None:
    right = [True] * 40 + [False] * 20 + [True] * 20
    sure = [0.9] * 80
    real = slices_of(scored(right, sure), "c", ["p"] * 40 + ["q"] * 40)
    assert (real.gap, real.by_chance < 0.01) == (0.5, True)
    luck = slices_of(scored(right, sure), "c", ["p", "q"] * 40)
    assert (luck.gap, luck.by_chance) == (0.0, 1.0)
    assert slices_of(scored(right, sure), "c", ["p", "q"] * 40, seed=1) == slices_of(
        scored(right, sure), "c", ["p", "q"] * 40, seed=1
    )


def test_a_small_slice_is_shown_and_makes_no_gap() -> None:
    found = slices_of(scored([True] * 12 + [False], [0.9] * 13), "c", ["p"] * 12 + ["q"])
    assert [(each.value, each.rows) for each in found.slices] == [("p", 12), ("q", 1)]
    assert (found.best, found.worst, found.gap, found.by_chance) == ("", "", 0.0, 1.0)


def test_columns_come_from_metadata_and_texts() -> None:
    rows = scored([True] * 20, [0.9] * 20, age=list(range(20)), city=["a"] * 9 + ["b"] * 10 + [""])
    columns = columns_of(rows)
    assert sorted(set(columns["age"])) == ["above 14", "above 4 to 9", "above 9 to 14", "up to 4"]
    assert set(columns["city"]) == {"a", "b", "(none)"}
    assert set(columns["language"]) == {"en"}
    assert [each.column for each in by_column(rows)] == ["age", "city"]  # the others have one value each


def test_a_column_of_many_words_keeps_the_frequent_ones() -> None:
    words = [f"w{at}" for at in range(15)] * 2 + ["w0"] * 5
    found = columns_of(scored([True] * 35, [0.9] * 35, word=words))["word"]
    assert len(set(found)) == 11
    assert found.count("w0") == 7
    assert found.count("other") == 10
