from __future__ import annotations

import math

import pytest

from mercat.errors import ConfigError
from mercat_financial_sentiment.detectors import BinomialSurge, Counts, binomial_tail, check_length

CALM = {"baseline_stories": 100, "baseline_negative": 15}


@pytest.mark.parametrize(("k", "n", "p"), [(3, 10, 0.2), (0, 5, 0.5), (5, 5, 0.3), (7, 20, 0.15), (40, 100, 0.3)])
def test_the_tail_equals_the_sum_of_the_definition(k: int, n: int, p: float) -> None:
    exact = sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))
    assert binomial_tail(k, n, p) == pytest.approx(exact, rel=1e-9)


def test_the_ends_of_the_tail() -> None:
    assert binomial_tail(6, 5, 0.5) == 0.0
    assert binomial_tail(1, 5, 0.0) == 0.0
    assert binomial_tail(1, 5, 1.0) == 1.0


def test_a_surge_of_negative_stories() -> None:
    verdict = BinomialSurge().judge(Counts(20, 16, **CALM))
    assert verdict.state == "surge"
    assert verdict.p_value < 1e-8
    assert verdict.probability > 0.99
    assert "16 of 20 stories are negative" in verdict.reason


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("usual", Counts(10, 2, **CALM)),
        ("volume only", Counts(60, 9, **CALM)),
        ("positive surge", Counts(30, 0, **CALM)),
        ("few negative ones", Counts(4, 4, **CALM)),
        ("nothing", Counts(0, 0, **CALM)),
    ],
)
def test_look_alikes_stay_calm(name: str, counts: Counts) -> None:
    assert BinomialSurge().judge(counts).state == "calm", name


def test_too_little_history_is_thin_and_says_so() -> None:
    verdict = BinomialSurge().judge(Counts(20, 16, 5, 1))
    assert verdict.state == "thin"
    assert "only 5 stories of history" in verdict.reason


def test_more_negative_stories_never_make_it_less_surprising() -> None:
    values = [BinomialSurge().judge(Counts(20, k, **CALM)).p_value for k in range(21)]
    assert values == sorted(values, reverse=True)


def test_false_alarms_in_calm_times_are_rare() -> None:
    """At alpha = 1e-4 the sum of p over what would alert is at most alpha for each judged window."""
    judge = BinomialSurge(prior_weight=0.001)
    for n in (5, 10, 20, 40):
        p = 15 / 100
        alarms = [k for k in range(n + 1) if judge.judge(Counts(n, k, **CALM)).state == "surge"]
        if alarms:
            assert binomial_tail(min(alarms), n, p) < 1.1e-4


@pytest.mark.parametrize(
    ("key", "value"), [("alpha", 0.0), ("alpha", 1.0), ("alpha", float("nan")), ("min_negative", 0)]
)
def test_a_detector_that_cannot_be_is_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{key} = {value}"):
        BinomialSurge(**{key: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0.0, -3.0, float("inf"), float("nan"), 1e9])
def test_a_time_that_cannot_be_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="history_days = "):
        check_length("history_days", value)
    check_length("history_days", 28.0)
