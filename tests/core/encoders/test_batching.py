import random

import pytest

from mercat.encoders.batching import plan

LENGTHS = [random.Random(7).choice((4, 9, 12, 15, 20, 31, 80)) for _ in range(250)]


def tokens(batches, lengths):
    return [sum(lengths[row] for row in batch) for batch in batches]


@pytest.mark.parametrize("lanes", [1, 2, 3, 8])
@pytest.mark.parametrize("lengths", [LENGTHS, [7], [], [256] * 9, [3000, 5, 5]])
def test_every_row_is_in_one_batch_and_no_batch_exceeds_the_budget(lengths, lanes):
    batches = plan(lengths, budget=1024, lanes=lanes)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 1024
    ordered = [lengths[row] for batch in batches for row in batch]
    assert ordered == sorted(ordered, reverse=True)


@pytest.mark.parametrize("lanes", [2, 3, 4])
def test_lanes_end_at_about_the_same_time(lanes):
    """Five full batches for two lanes would keep one of them waiting for a fifth of the time."""
    batches = plan(LENGTHS, budget=1024, lanes=lanes)
    ends = [0] * lanes
    for each in tokens(batches, LENGTHS):
        ends[ends.index(min(ends))] += each
    assert max(ends) < 1.1 * sum(LENGTHS) / lanes


def test_few_tokens_are_not_cut_for_the_lanes():
    assert len(plan([20] * 10, budget=1024, lanes=2)) == 1


def test_a_little_more_than_the_least_is_cut_in_halves():
    assert tokens(plan([20] * 20, budget=1024, lanes=2), [20] * 20) == [200, 200]
