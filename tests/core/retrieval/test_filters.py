"""Filters are kept up with the store and agree with a plain look at every row."""

import json
import logging
from datetime import UTC, datetime, timedelta

import pytest

from mercat.errors import DataError
from mercat.retrieval.filters import matches, values_of
from mercat.retrieval.rows import Rows
from mercat.values import Document, Example


def shelf(store, count=40):
    rows = [
        Document(
            f"d{n}",
            f"text {n}",
            locale=["en", "zh"][n % 2],
            url="" if n % 5 else f"https://shop.example/{n}",
            published_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n) if n % 3 else None,
            metadata={
                "day": f"2026-01-{n % 28 + 1:02d}",
                "size": ["S", n, True][n % 3],
                "brand": f"b{n % 3}",
                "tags": [f"t{n % 4}", "all"],
                "price": n % 5,
                "box": {"not": "asked"},
            },
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
    {"price": {"from": 1, "to": 3}},
    {"price": {"above": 1, "below": 3}},
    {"price": {"from": 4}, "brand": {"none": ["b0"]}},
    {"tags": {"all": ["all", "t1"]}},
    {"tags": {"all": []}},
    {"tags": {"any": ["t1", "t2"]}},
    {"tags": {"none": ["t1", "t2"]}, "locale": {"equals": "zh"}},
    {"published_at": {"from": "2026-01-10", "below": "2026-01-20T00:00:00Z"}},
    {"published_at": {"above": datetime(2026, 1, 30, 1, tzinfo=UTC)}},
    {"published_at": "2026-01-03T01:00:00+01:00"},
    {"published_at": {"exists": False}},
    {"url": {"exists": True}},
    {"box": {"exists": True}, "brand": {"exists": True}},
    {"day": {"from": "2026-01-27"}},
    {"size": {"from": 5, "to": 20}},
    {"size": True},
    {"any_of": [{"brand": "b0", "locale": "zh"}, {"price": {"to": 0}}]},
    {"any_of": []},
    {"none_of": [{"brand": ["b0", "b1"]}, {"locale": "en"}], "tags": "all"},
    {"all_of": [{"tags": "t1"}, {"any_of": [{"price": 1}, {"price": 2}]}]},
    {"nowhere": {"none": ["x"]}},
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


SOME = [  # what exactly passes, of a few
    ({"price": {"from": 1, "below": 3}, "brand": "b0"}, {"d6", "d12", "d21", "d27", "d36"}),
    ({"published_at": {"from": "2026-02-07"}}, {"d37", "d38"}),
    ({"tags": {"all": ["t3"], "none": ["all"]}}, set()),
    ({"any_of": [{"id": "d1"}, {"id": ["d2", "d3"]}], "locale": "zh"}, {"d1", "d3"}),
    ({"size": {"above": 30}}, {"d31", "d34", "d37"}),
]


@pytest.mark.parametrize(("filters", "ids"), SOME)
def test_what_passes_by_hand(store, filters, ids):
    shelf(store)
    assert Rows(store, "shop").allowed(filters) == ids


def test_a_condition_survives_json_and_is_seen_with_changes(store):
    shelf(store)
    filters = json.loads(json.dumps({"none_of": [{"price": {"from": 1}}], "locale": "en"}))
    view = Rows(store, "shop")
    before = view.allowed(filters)
    store.upsert([Document("d0", "text", metadata={"price": 2}), Document("new", "x", locale="en")], collection="shop")
    with store.transaction() as tx:
        tx.delete("documents", ["d10"], collection="shop")
    assert view.allowed(filters) == before - {"d0", "d10"} | {"new"}


BAD = [
    ({"box": {"not": "asked"}}, "Known: equals"),
    ({"price": {"form": 1}}, "Did you mean 'from'"),
    ({"price": {"from": "cheap"}}, "no number and no time"),
    ({"price": {"from": True}}, "no number and no time"),
    ({"price": {"from": float("nan")}}, "no number and no time"),
    ({"price": {"from": 1, "above": 1}}, "both 'from' and 'above'"),
    ({"price": {"from": 1, "to": "2026-01-01"}}, "a number and one is a time"),
    ({"brand": None}, "which no column holds"),
    ({"brand": [["b0"]]}, "which no column holds"),
    ({"brand": {"any": "b0"}}, "It is 'b0'"),
    ({"brand": {"exists": "yes"}}, "It is 'yes'"),
    ({"any_of": {"brand": "b0"}}, "takes a list of filters"),
    ({"all_of": ["b0"]}, "They are 'b0'"),
    ("brand", "They are 'brand'"),
]


@pytest.mark.parametrize(("filters", "found"), BAD, ids=str)
def test_what_filters_do_not_have_is_refused(store, filters, found):
    rows = shelf(store)
    for ask in (Rows(store, "shop").allowed, lambda asked: matches(rows[0], asked)):
        with pytest.raises(DataError, match=found) as caught:
            ask(filters)
        assert caught.value.next


def test_filters_within_filters_end_somewhere():
    deep = {"brand": "b0"}
    for _ in range(12):
        deep = {"all_of": [deep]}
    with pytest.raises(DataError, match="deeper than 8"):
        matches(Document("d", "text"), deep)


def test_a_column_that_no_row_has_is_said(store, caplog):
    shelf(store)
    view = Rows(store, "shop")
    with caplog.at_level(logging.WARNING):
        assert view.allowed({"brnd": "b1"}) == set()
        assert view.allowed({"subject": "nobody"}) == set()
    (record,) = caplog.records
    assert "'brnd', which no row has. Did you mean 'brand'?" in record.message


def test_the_same_filters_have_the_same_answer_until_something_changes(store):
    shelf(store)
    view = Rows(store, "shop")
    first = view.allowed({"brand": ["b1", "b2"], "locale": "en"})
    assert view.allowed({"locale": "en", "brand": ["b2", "b1"]}) is first
    assert first.filters == {"brand": ["b1", "b2"], "locale": "en"}
    assert view.allowed({"brand": "b1", "locale": "en"}) != first
    store.upsert([Document("d1", "text", locale="en", metadata={"brand": "b2"})], collection="shop")
    assert view.allowed({"brand": ["b1", "b2"], "locale": "en"}) == first | {"d1"}
    ranged = view.allowed({"none_of": [{"price": {"from": 1}}, {"brand": "b1"}]})
    assert view.allowed({"none_of": [{"brand": ["b1"]}, {"price": {"from": 1}}]}) is ranged
    assert view.allowed({"none_of": [{"price": {"above": 1}}, {"brand": "b1"}]}) is not ranged


def test_true_and_1_are_two_values_whichever_came_first(store):
    for first, second in ((True, 1), (1, True)):
        rows = [Document("a", "text", metadata={"n": first}), Document("b", "text", metadata={"n": second})]
        store.upsert(rows, collection=f"flags {first}")
        number = "b" if first is True else "a"
        assert Rows(store, f"flags {first}").allowed({"n": {"from": 0, "to": 5}}) == {number}


def test_one_row_with_a_strange_value_does_not_break_its_column(store):
    rows = [
        Document("first day", "text", metadata={"when": "0001-01-01T00:00:00+08:00", "n": 10**400}),
        Document("today", "text", metadata={"when": "2026-01-01", "n": 3}),
    ]
    store.upsert(rows, collection="strange")
    view = Rows(store, "strange")
    assert view.allowed({"when": {"from": "2025-01-01"}}) == {"today"}
    assert view.allowed({"n": {"from": 0}}) == {"first day", "today"}
    assert view.allowed({"n": {"below": 10}}) == {"today"}


def test_values_that_no_row_has_any_more_are_forgotten(store):
    view = Rows(store, "shop")
    for number in range(30):
        store.upsert([Document("a", "text", metadata={"n": number})], collection="shop")
        assert view.allowed({"n": number}) == {"a"}
    assert len(view._facets._ids["n"]) == 1
