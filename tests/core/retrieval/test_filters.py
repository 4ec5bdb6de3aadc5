"""Filters are kept up with the store and agree with a plain look at every row."""

import pytest

from mercat.retrieval.filters import matches, values_of
from mercat.retrieval.rows import Rows
from mercat.values import Document, Example


def shelf(store, count=40):
    rows = [
        Document(
            f"d{n}",
            f"text {n}",
            locale=["en", "zh"][n % 2],
            metadata={"brand": f"b{n % 3}", "tags": [f"t{n % 4}", "all"], "price": n % 5, "box": {"not": "asked"}},
        )
        for n in range(count)
    ]
    store.upsert(rows, collection="shop")
    return rows


FILTERS = [
    {"locale": "zh"},
    {"brand": "b1"},
    {"brand": ["b0", "b2"], "locale": "en"},
    {"tags": "t3"},
    {"tags": ["t1", "t2"], "price": (0, 4)},
    {"price": 3},
    {"brand": "nobody"},
    {"nowhere": 1},
    {"brand": []},
]


@pytest.mark.parametrize("filters", FILTERS)
def test_the_allowed_ids_are_those_that_match(store, filters):
    rows = shelf(store)
    assert Rows(store, "shop").allowed(filters) == {row.id for row in rows if matches(row, filters)}


def test_no_filters_allow_everything(store):
    assert Rows(store, "shop").allowed(None) is None
    assert Rows(store, "shop").allowed({}) is None


def test_changes_are_seen_at_once(store):
    rows = shelf(store)
    view = Rows(store, "shop")
    before = view.allowed({"brand": "b1"})
    store.upsert([Document("d1", "text", metadata={"brand": "b9"})], collection="shop")
    with store.transaction() as tx:
        tx.delete("documents", ["d4"], collection="shop")
    assert view.allowed({"brand": "b1"}) == before - {"d1", "d4"}
    assert view.allowed({"brand": "b9"}) == {"d1"}
    assert view.allowed({"tags": "all"}) == {row.id for row in rows} - {"d1", "d4"}, "a column asked later"


def test_a_field_goes_before_a_key_of_the_metadata():
    row = Example("e", "text", "card", metadata={"label": "other", "metadata": "x"})
    assert values_of(row, "label") == ("card",)
    assert values_of(row, "metadata") == ("x",)
    assert values_of(row, "missing") == ()


def test_a_mapping_is_no_value_to_filter_by(store):
    shelf(store)
    assert Rows(store, "shop").allowed({"box": {"not": "asked"}}) == set()


def test_the_same_filters_have_the_same_answer_until_something_changes(store):
    shelf(store)
    view = Rows(store, "shop")
    first = view.allowed({"brand": ["b1", "b2"], "locale": "en"})
    assert view.allowed({"locale": "en", "brand": ["b2", "b1"]}) is first
    assert first.filters == {"brand": ["b1", "b2"], "locale": "en"}
    assert view.allowed({"brand": "b1", "locale": "en"}) != first
    store.upsert([Document("d1", "text", locale="en", metadata={"brand": "b2"})], collection="shop")
    assert view.allowed({"brand": ["b1", "b2"], "locale": "en"}) == first | {"d1"}
    assert view.allowed({"box": {"not": "hashable"}}) == set()
