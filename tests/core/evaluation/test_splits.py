import random
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from mercat.errors import DataError
from mercat.evaluation import by_group, by_time, rolling, stratified
from mercat.values import Example

START = datetime(2025, 1, 1, tzinfo=UTC)


def rows(count=1000, *, labels=(("a", 6), ("b", 3), ("c", 1)), seed=0, groups=0, repeats=0.0, split=""):
    rng = random.Random(seed)
    names = [name for name, weight in labels for _ in range(weight)]
    found = []
    for number in range(count):
        text = f"text {number}"
        if found and rng.random() < repeats:
            text = rng.choice(found).text.upper() + "  "
        group = f"group {rng.randrange(groups)}" if groups else ""
        at = START + timedelta(hours=rng.randrange(24 * 365))
        found.append(Example(f"id{number}", text, rng.choice(names), split=split, group=group, at=at))
    return found


def everywhere(parts):
    return {"train": parts.train, "validation": parts.validation, "test": parts.test}


def ids(part):
    return [row.id for row in part]


def assert_nothing_is_on_two_sides(parts):
    seen = {}
    for name, part in everywhere(parts).items():
        for row in part:
            for key in (("text", row.text.lower().strip()), ("group", row.group)):
                if key != ("group", ""):
                    assert seen.setdefault(key, name) == name


def test_every_label_has_its_share_in_each_part():
    given = rows()
    parts = stratified(given, validation=0.1, test=0.2)
    counts = Counter(row.label for row in given)
    for name, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        found = Counter(row.label for row in everywhere(parts)[name])
        for label, count in counts.items():
            assert abs(found[label] - share * count) <= 1
    assert sorted(ids(parts.train) + ids(parts.validation) + ids(parts.test)) == sorted(ids(given))


def test_the_same_rows_and_seed_give_the_same_parts_in_any_order():
    given = rows(repeats=0.2)
    shuffled = list(given)
    random.Random(9).shuffle(shuffled)
    one, two, other = stratified(given, seed=1), stratified(shuffled, seed=1), stratified(given, seed=2)
    for name in ("train", "validation", "test"):
        assert set(ids(everywhere(one)[name])) == set(ids(everywhere(two)[name]))
        assert set(ids(everywhere(one)[name])) != set(ids(everywhere(other)[name]))


@pytest.mark.parametrize("split", [stratified, by_group])
def test_rows_with_one_text_or_group_never_part(split):
    parts = split(rows(repeats=0.3), seed=3)
    assert_nothing_is_on_two_sides(parts)
    assert 130 < len(parts.test) < 230
    parts = split(rows(groups=60), seed=3)
    assert_nothing_is_on_two_sides(parts)
    assert 100 < len(parts.test) < 220


def test_chains_of_texts_and_groups_stay_together():
    given = [
        Example("1", "same", "a", group="g"),
        Example("2", "other", "a", group="g"),
        Example("3", "OTHER ", "a", group="h"),
        *rows(50),
    ]
    for seed in range(20):
        parts = stratified(given, seed=seed)
        assert sum({"1", "2", "3"} <= set(ids(part)) for part in everywhere(parts).values()) == 1


def test_given_splits_stand_and_validation_comes_out_of_train():
    given = [*rows(400, split="train"), *(Example(f"t{n}", f"test {n}", "a", split="test") for n in range(50))]
    parts = stratified(given, validation=0.1, test=0.2)
    assert {row.split for row in parts.test} == {"test"}
    assert len(parts.test) == 50
    assert {row.split for row in parts.train} == {row.split for row in parts.validation} == {"train"}
    assert abs(len(parts.validation) - 40) <= 2


def test_given_validation_is_taken_as_it_is():
    given = [*rows(100, split="train"), Example("v", "only one", "a", split="validation")]
    parts = stratified(given)
    assert ids(parts.validation) == ["v"]
    assert parts.test == []
    assert len(parts.train) == 100


def test_an_unmarked_copy_of_a_test_row_goes_to_the_test_part():
    given = [*rows(100), Example("t", "text 5", "a", split="test"), Example("k", "text 6", "a", split="train")]
    for seed in range(5):
        parts = stratified(given, seed=seed)
        assert "id5" in ids(parts.test)
        assert "id6" not in ids(parts.test)


def test_given_splits_that_already_part_a_text_stand():
    given = [Example("1", "x", "a", split="train"), Example("2", "x", "a", split="test"), *rows(20, split="train")]
    parts = stratified(given, validation=0.5)
    assert "1" in ids(parts.train)
    assert "2" in ids(parts.test)


def test_a_label_with_one_row_is_trained_on():
    parts = stratified([*rows(100), Example("only", "rare", "rare")])
    assert "only" in ids(parts.train)


def test_time_parts_at_the_given_moments():
    given, at, middle = rows(), START + timedelta(days=300), START + timedelta(days=250)
    parts = by_time(given, at=at, validation_from=middle)
    assert max(row.at for row in parts.train) < middle <= min(row.at for row in parts.validation)
    assert max(row.at for row in parts.validation) < at <= min(row.at for row in parts.test)
    assert len(parts.train) + len(parts.validation) + len(parts.test) == 1000
    assert by_time(given, at=at).validation == []


def test_a_later_copy_or_group_member_is_left_out_not_learned_from():
    given = rows(repeats=0.2)
    parts = by_time(given, at=START + timedelta(days=200), validation_from=START + timedelta(days=150))
    assert_nothing_is_on_two_sides(parts)
    assert len(parts.left_out) > 20
    assert parts.notes == (f"{len(parts.left_out)} later rows left out: an earlier part holds their text or group",)


def test_a_row_marked_for_another_part_than_its_time_is_left_out():
    given = [
        *rows(100),
        Example("m", "marked", "a", split="test", at=START - timedelta(days=1)),
    ]
    parts = by_time(given, at=START + timedelta(days=200))
    assert ids(parts.left_out) == ["m"]
    assert "1 rows left out" in parts.notes[0]


def test_rolling_windows_test_on_each_step_once():
    given, step = rows(), timedelta(days=30)
    windows = list(rolling(given, first=START + timedelta(days=90), step=step, windows=5, history=timedelta(days=60)))
    tested = [row.id for window in windows for row in window.test]
    assert len(tested) == len(set(tested)) == sum(90 <= (row.at - START).days < 240 for row in given)
    for number, window in enumerate(windows):
        cut = START + timedelta(days=90) + number * step
        assert all(cut - timedelta(days=60) <= row.at < cut for row in window.train)
        assert all(cut <= row.at < cut + step for row in window.test)


def test_what_cannot_be_parted_is_a_data_error():
    with pytest.raises(DataError, match="1 of 2 rows have no time"):
        by_time([Example("1", "a", "a", at=START), Example("2", "b", "b")], at=START)
    with pytest.raises(DataError, match="leave no rows to train on"):
        stratified(rows(10), validation=0.5, test=0.5)
    with pytest.raises(DataError, match="has the split 'dev'"):
        stratified([Example("1", "a", "a", split="dev")])
    assert stratified([]).train == []
