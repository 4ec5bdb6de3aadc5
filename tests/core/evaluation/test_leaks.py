from datetime import UTC, datetime, timedelta

from mercat.evaluation import find_leaks, stratified
from mercat.evaluation.baselines import TfidfLinear
from mercat.values import Example

NOW = datetime(2025, 6, 1, tzinfo=UTC)


def example(id, text, **more):
    return Example(id, text, "label", **more)


def test_each_kind_of_text_is_found_once():
    train = [
        example("1", "My card has not arrived"),
        example("2", "How do I top up my account with cash?"),
        example("3", "Nothing to do with the others"),
        example("4", "退款一般需要三到五个工作日到账"),
    ]
    test = [
        example("a", "My card has not arrived"),
        example("b", "ＭＹ card  has not ARRIVED"),
        example("c", "How do I top up my account with cash??!"),
        example("d", "How do I top up my accounts with cash"),
        example("e", "退款一般需要三到五个工作日到账吗"),
        example("f", "An honest new question about fees"),
    ]
    leaks = find_leaks({"train": train, "test": test})
    found = {leak.kind: (leak.count, [(left, right) for left, right, _ in leak.examples]) for leak in leaks}
    assert found == {
        "exact": (1, [("1", "a")]),
        "normalised": (1, [("1", "b")]),
        "near": (3, [("2", "c"), ("2", "d"), ("4", "e")]),
    }
    assert str(leaks[0]) == "1 of 6 rows of 'test' have a text that is in 'train'"
    assert [leak.kind for leak in find_leaks({"train": train, "test": test}, near=None)] == ["exact", "normalised"]


def test_groups_and_times():
    train = [example("1", "first text", group="g", at=NOW), example("2", "second thing", group="h", at=NOW)]
    test = [
        example("a", "wholly different words", group="g", at=NOW + timedelta(days=1)),
        example("b", "yet another matter", at=NOW - timedelta(days=1)),
    ]
    group, time = find_leaks({"train": train, "test": test})
    assert (group.kind, group.count, group.total, group.examples[0]) == ("group", 1, 2, ("1", "a", "g"))
    assert (time.kind, time.count, time.examples[0][1]) == ("time", 1, "b")


def test_times_are_compared_only_where_every_row_has_one():
    assert find_leaks({"train": [example("1", "first text", at=NOW)], "test": [example("a", "b c d e")]}) == []


def test_a_text_that_occurs_often_costs_no_pairs_of_copies():
    train = [example(f"1{n}", "the very same text again and again") for n in range(3000)]
    test = [example(f"2{n}", "the very same text again and again!") for n in range(3000)]
    (leak,) = find_leaks({"train": train, "test": test})
    assert (leak.kind, leak.count, len(leak.examples)) == ("near", 3000, 5)


def test_own_splits_do_not_leak():
    rows = [example(str(n), f"question {n // 3}", group=f"g{n // 6}") for n in range(600)]
    parts = stratified(rows)
    assert 100 < len(parts.test) < 130
    assert find_leaks({"train": parts.train, "validation": parts.validation, "test": parts.test}, near=None) == []


def test_the_baseline_learns_english_and_chinese():
    texts = ["my card is lost", "lost card", "the card got lost", "top up failed", "how to top up", "top up now"]
    texts += ["我要退款", "退款多久", "申请退款", "卡丢了", "我的卡丢了", "丢了卡"]
    labels = ["lost"] * 3 + ["top_up"] * 3 + ["退款"] * 3 + ["丢卡"] * 3
    baseline = TfidfLinear().fit(texts, labels)
    assert baseline.name == "TF-IDF + logistic regression"
    assert baseline.predict(["card lost again", "please top up", "退款呢", "卡丢了吗"]) == [
        "lost",
        "top_up",
        "退款",
        "丢卡",
    ]
    assert baseline.scores([]).shape == (0, 4)
    assert baseline.scores(texts).sum(axis=1).round(4).tolist() == [1.0] * 12
