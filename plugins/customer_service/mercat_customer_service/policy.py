"""What to do with a turn: a pure function of scores, hits and state. Nothing here reads a clock, a model or a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mercat.errors import ConfigError
from mercat_customer_service.values import Action


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the decision depends on.

    `labels` and `scores` are the best intents and their calibrated probabilities, empty where no classifier speaks the
    language of the turn. `article_score` is that of the best help article, 0 without one.
    """

    state: str  # "bot", "person" or "closed"
    wants_person: bool
    labels: Sequence[str]
    scores: Sequence[float]
    approved: frozenset[str]  # intents among `labels` that have an approved reply for this language
    article_score: float
    chosen: str  # the intent that the customer picked from an offered choice, or ""
    questions_asked: int  # questions that the desk has asked back in a row


@dataclass(frozen=True, slots=True)
class Limits:
    """What the owner sets. Probabilities in [0, 1]; `article` is a similarity of the help encoder, in [-1, 1].

    Raises ConfigError for a value outside.
    """

    answer: float = 0.7
    choice: float = 0.35
    article: float = 0.45
    questions: int = 1

    def __post_init__(self) -> None:
        for name, least, most in (("answer", 0, 1), ("choice", 0, 1), ("article", -1, 1), ("questions", 0, 100)):
            if not least <= (value := getattr(self, name)) <= most:
                default = type(self).__dataclass_fields__[name].default
                raise ConfigError(f"{name} = {value}", f"It is from {least} to {most}", f"{name} = {default}")


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, with the line of the table that said so."""

    action: Action
    reason: str
    intent: str = ""
    confidence: float = 0.0
    options: tuple[str, ...] = ()


TABLE = (
    ("a person has taken over", "silent"),
    ("the customer asks for a person", "hand_over"),
    ("the customer chose an offered intent with an approved reply", "reply"),
    ("one intent is sure enough and has an approved reply", "reply"),
    ("a help article is near enough", "article"),
    ("one intent is sure enough but nobody approved a reply", "hand_over"),
    ("two intents are possible and the desk has not asked yet", "ask"),
    ("nothing fits and the desk has not asked yet", "ask"),
    ("nothing fits and the desk has asked already", "hand_over"),
)
"""The rules in order, as a business user reads them; the first that holds decides."""


def decide(situation: Situation, limits: Limits) -> Decision:
    """Return the decision of the first rule of `TABLE` that holds."""
    for number, rule in enumerate(_RULES):
        decision = rule(situation, limits, TABLE[number][0])
        if decision is not None:
            return decision
    raise AssertionError("the last rule always holds")


def _person(s: Situation, limits: Limits, reason: str) -> Decision | None:
    return Decision("silent", reason) if s.state == "person" else None


def _wanted(s: Situation, limits: Limits, reason: str) -> Decision | None:
    return Decision("hand_over", reason, *_best(s)) if s.wants_person else None


def _chosen(s: Situation, limits: Limits, reason: str) -> Decision | None:
    if s.chosen and s.chosen in s.approved:
        return Decision("reply", reason, s.chosen, 1.0)
    return None


def _sure(s: Situation, limits: Limits, reason: str) -> Decision | None:
    intent, score = _best(s)
    return Decision("reply", reason, intent, score) if score >= limits.answer and intent in s.approved else None


def _article(s: Situation, limits: Limits, reason: str) -> Decision | None:
    intent, _ = _best(s)
    return Decision("article", reason, intent, s.article_score) if s.article_score >= limits.article else None


def _unapproved(s: Situation, limits: Limits, reason: str) -> Decision | None:
    intent, score = _best(s)
    return Decision("hand_over", reason, intent, score) if score >= limits.answer else None


def _two(s: Situation, limits: Limits, reason: str) -> Decision | None:
    options = tuple(
        label
        for label, score in zip(s.labels, s.scores, strict=True)
        if score >= limits.choice / 2 and label in s.approved
    )[:3]
    likely = sum(s.scores[:2]) >= limits.choice
    if s.questions_asked < limits.questions and likely and len(options) >= 2:
        return Decision("ask", reason, *_best(s), options)
    return None


def _lost(s: Situation, limits: Limits, reason: str) -> Decision | None:
    return Decision("ask", reason, *_best(s)) if s.questions_asked < limits.questions else None


def _give_up(s: Situation, limits: Limits, reason: str) -> Decision:
    return Decision("hand_over", reason, *_best(s))


def _best(s: Situation) -> tuple[str, float]:
    return (s.labels[0], s.scores[0]) if s.labels else ("", 0.0)


_RULES = (_person, _wanted, _chosen, _sure, _article, _unapproved, _two, _lost, _give_up)
