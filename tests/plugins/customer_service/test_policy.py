"""The policy is a pure function: every combination of what it looks at is tried."""

from __future__ import annotations

from itertools import product

import pytest

from mercat.errors import ConfigError
from mercat_customer_service.policy import TABLE, Limits, Situation, decide

LIMITS = Limits(answer=0.7, choice=0.35, article=0.45, questions=1)
SCORES = ((), (0.9, 0.05), (0.7, 0.2), (0.4, 0.35), (0.2, 0.16), (0.05, 0.04))
GRID = list(
    product(
        ("bot", "person"),
        (False, True),
        SCORES,
        (frozenset(), frozenset({"a"}), frozenset({"a", "b"})),
        (0.0, 0.449, 0.45, 0.9),
        ("", "a", "b"),
        (0, 1, 2),
    )
)


def situation(**changes: object) -> Situation:
    values: dict[str, object] = {
        "state": "bot", "wants_person": False, "labels": ("a", "b"), "scores": (0.9, 0.05),
        "approved": frozenset({"a", "b"}), "article_score": 0.0, "chosen": "", "questions_asked": 0,
    }  # fmt: skip
    return Situation(**{**values, **changes})  # type: ignore[arg-type]


def test_every_situation_has_a_decision_that_keeps_the_promises() -> None:
    reasons = set()
    for state, wants, scores, approved, article, chosen, asked in GRID:
        one = situation(
            state=state, wants_person=wants, labels=("a", "b")[: len(scores)], scores=scores, approved=approved,
            article_score=article, chosen=chosen, questions_asked=asked,
        )  # fmt: skip
        decision = decide(one, LIMITS)
        reasons.add(decision.reason)
        if state == "person":
            assert decision.action == "silent", "the desk never speaks while a person does"
            continue
        if wants:
            assert decision.action == "hand_over"
        if decision.action == "reply":
            assert decision.intent in approved, "only approved wording is said"
            assert chosen == decision.intent or scores[0] >= LIMITS.answer
        if decision.action == "article":
            assert article >= LIMITS.article
        if decision.action == "ask":
            assert asked < LIMITS.questions, "it does not ask for ever"
            assert set(decision.options) <= approved
            assert len(decision.options) != 1
    assert reasons == {reason for reason, _ in TABLE}, "no rule is dead"


@pytest.mark.parametrize(
    ("changes", "action", "reason"),
    [
        ({"state": "person"}, "silent", 0),
        ({"wants_person": True}, "hand_over", 1),
        ({"chosen": "b", "scores": (0.1, 0.1)}, "reply", 2),
        ({}, "reply", 3),
        ({"scores": (0.3, 0.1), "article_score": 0.5}, "article", 4),
        ({"approved": frozenset()}, "hand_over", 5),
        ({"scores": (0.4, 0.3)}, "ask", 6),
        ({"scores": (0.1, 0.05)}, "ask", 7),
        ({"scores": (0.1, 0.05), "questions_asked": 1}, "hand_over", 8),
    ],
)
def test_each_rule_of_the_table(changes: dict[str, object], action: str, reason: int) -> None:
    decision = decide(situation(**changes), LIMITS)
    assert (decision.action, decision.reason) == (action, TABLE[reason][0])
    assert TABLE[reason][1] == action


def test_an_article_answers_where_nobody_approved_a_reply() -> None:
    assert decide(situation(approved=frozenset(), article_score=0.8), LIMITS).action == "article"


def test_without_a_classifier_the_desk_lives_on_articles() -> None:
    assert decide(situation(labels=(), scores=(), article_score=0.8), LIMITS).action == "article"
    assert decide(situation(labels=(), scores=()), LIMITS).action == "ask"


@pytest.mark.parametrize(
    ("key", "value"),
    [("answer", 5), ("answer", -0.1), ("choice", 1.1), ("article", 2), ("questions", -3), ("answer", float("nan"))],
)
def test_limits_that_cannot_be_are_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{key} = {value}.*It is from"):
        Limits(**{key: value})  # type: ignore[arg-type]
