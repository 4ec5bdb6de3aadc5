from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mercat.errors import DataError
from mercat.testing.training import topic_examples
from mercat.training.data import read_parts, save_rows, unseen
from mercat.training.loop.batches import epoch_batches, length_batches
from mercat.values import Example


def parts_of(store, rows, **options):
    store.upsert(rows, collection="c")
    return read_parts(store, "c", **options)


def ids(rows):
    return {row.id for row in rows}


def test_each_row_is_in_one_part_and_labels_keep_their_shares(store):
    parts = parts_of(store, topic_examples(300))
    assert len(ids(parts.train) | ids(parts.validation) | ids(parts.test)) == 300
    assert parts.counts["train"] + parts.counts["validation"] + parts.counts["test"] == 300
    for rows in (parts.validation, parts.test):
        per_label = [sum(row.label == label for row in rows) for label in parts.labels]
        assert max(per_label) - min(per_label) <= 2
        assert sum(per_label) in range(26, 35)


def test_own_splits_are_honoured_and_validation_is_taken_from_train(store):
    rows = [*topic_examples(100, split="train"), *topic_examples(40, split="test", seed=1)]
    parts = parts_of(store, rows)
    assert all(row.id.startswith("test") for row in parts.test)
    assert len(parts.test) == 40
    assert len(parts.train) + len(parts.validation) == 100
    assert 7 <= len(parts.validation) <= 13


def test_the_seed_of_a_run_does_not_change_the_parts(store):
    first = parts_of(store, topic_examples(200))
    assert read_parts(store, "c").digest == first.digest
    assert read_parts(store, "c", seed=5).digest != first.digest


def test_the_digest_changes_with_a_label(store):
    rows = topic_examples(100)
    before = parts_of(store, rows).digest
    changed = [replace(rows[0], label="refund" if rows[0].label != "refund" else "card"), *rows[1:]]
    assert parts_of(store, changed).digest != before


def test_dated_rows_are_parted_by_time(store):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [replace(row, at=start + timedelta(hours=hour)) for hour, row in enumerate(topic_examples(200))]
    parts = parts_of(store, rows)
    assert max(row.at for row in parts.train) < min(row.at for row in parts.validation)
    assert max(row.at for row in parts.validation) < min(row.at for row in parts.test)
    assert 150 <= len(parts.train) <= 160
    assert min(row.at for row in read_parts(store, "c", split="stratified").test) < max(row.at for row in parts.train)


def test_groups_do_not_part_ways(store):
    rows = [replace(row, group=f"customer-{number % 40}") for number, row in enumerate(topic_examples(240))]
    for split in ("group", "stratified"):
        parts = parts_of(store, rows, split=split)
        groups = [{row.group for row in part} for part in (parts.train, parts.validation, parts.test)]
        assert not groups[0] & groups[1]
        assert not (groups[0] | groups[1]) & groups[2]


def test_a_label_seen_once_is_dropped_and_said(store):
    parts = parts_of(store, [*topic_examples(90), Example("odd", "something else", "lonely")])
    assert "lonely" not in parts.labels
    assert sum(parts.counts[name] for name in ("train", "validation", "test")) == 90
    assert any("lonely" in note and "dropped" in note for note in parts.notes)


def test_leaks_between_given_parts_are_counted_and_said(store):
    rows = topic_examples(60, split="train")
    copies = [replace(row, id=f"copy-{row.id}", text=f"  {row.text.upper()}", split="test") for row in rows[:7]]
    parts = parts_of(store, [*rows, *copies, *topic_examples(30, split="validation", seed=2)])
    assert parts.counts["leaks_normalised_train_test"] == 7
    assert any("7 of 7 rows of 'test'" in note for note in parts.notes)


def test_a_test_label_that_train_lacks_is_said(store):
    rows = [
        *topic_examples(60, split="train"),
        *(Example(f"n{n}", f"new topic {n}", "new", split="test") for n in (1, 2)),
    ]
    parts = parts_of(store, rows)
    assert "new" not in parts.labels
    assert any("2 test rows have labels that the train part lacks" in note for note in parts.notes)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], "none there"),
        ([Example("a", "one", "x"), Example("b", "two", "x")], "1 label"),
        ([Example("a", "one", "x", text_pair="1"), Example("b", "two", "y", text_pair="2")], "pairs"),
        ([Example(f"{n}{k}", f"text {n}{k}", n) for n in "xy" for k in range(2)], "validation part is empty"),
    ],
)
def test_what_cannot_be_learned_is_refused_in_three_parts(store, rows, found):
    with pytest.raises(DataError) as caught:
        parts_of(store, rows) if rows else read_parts(store, "c")
    assert "'c'" in caught.value.asked
    assert found in caught.value.found
    assert caught.value.next


def test_rows_that_were_seen_are_known_again_by_their_hashes(store, tmp_path):
    parts = parts_of(store, topic_examples(200))
    save_rows(tmp_path, parts)
    assert ids(unseen(tmp_path, topic_examples(200))) == ids(parts.test)
    assert [path.suffix for path in tmp_path.glob("rows*")] == [".safetensors"]


def test_rows_that_left_the_store_stay_known_to_the_next_version(store, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
    first = parts_of(store, topic_examples(200))
    save_rows(old, first)
    store.upsert([replace(row, split="train") for row in topic_examples(90, seed=3)], collection="later")
    later = read_parts(store, "later")
    save_rows(new, later, before=old)
    rows = [*topic_examples(200), *topic_examples(90, seed=3)]
    assert ids(unseen(new, rows)) == ids(first.test) | ids(later.test)
    assert ids(unseen(old, rows)) == ids(first.test) | ids(topic_examples(90, seed=3))


def test_batches_hold_each_row_once_in_an_order_of_seed_and_epoch():
    lengths = [3 + number * 7 % 40 for number in range(501)]
    batches = epoch_batches(lengths, 16, seed=1, epoch=2)
    assert sorted(row for batch in batches for row in batch) == list(range(501))
    assert max(len(batch) for batch in batches) == 16
    again, other = epoch_batches(lengths, 16, seed=1, epoch=2), epoch_batches(lengths, 16, seed=1, epoch=3)
    assert [list(batch) for batch in again] == [list(batch) for batch in batches]
    assert [list(batch) for batch in other] != [list(batch) for batch in batches]


def test_batches_hold_rows_of_like_length():
    lengths = [3 + number * 7 % 40 for number in range(800)]
    padding = [
        sum(max(lengths[row] for row in batch) - lengths[row] for row in batch)
        for batch in epoch_batches(lengths, 16, seed=0, epoch=0)
    ]
    assert sum(padding) < 0.05 * sum(lengths)
    assert sorted(row for batch in length_batches(lengths, 64) for row in batch) == list(range(800))


def test_two_processes_never_train_one_name(tmp_path):
    from mercat.artifacts.unfinished import alone
    from mercat.errors import ArtifactError

    with alone(tmp_path), pytest.raises(ArtifactError, match="Another process is training it"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass  # whoever left let go
