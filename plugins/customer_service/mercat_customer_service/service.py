"""The desk: understand a turn, decide by the policy, say only what is approved or quoted, and remember."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mercat.classifiers.base import Classifier, Prediction
from mercat.errors import DataError
from mercat.retrieval.base import Retriever
from mercat.services import Service
from mercat.store import Store, Transaction
from mercat.text.language import detect
from mercat.text.redact import Redactor
from mercat.text.sentences import sentences
from mercat.values import Answer, Hit, Objection
from mercat_customer_service.conversations import MAX_CHARS, Conversation, Desk
from mercat_customer_service.policy import Decision, Limits, Situation, decide
from mercat_customer_service.replies import Replies, phrase, wants_person
from mercat_customer_service.tables import TurnRow
from mercat_customer_service.values import Reply, Turn

DEFAULT_ANSWER = Limits().answer


@dataclass(frozen=True, slots=True)
class _Understood:
    turn: Turn
    text: str  # redacted
    locale: str  # "" where neither the request nor the words say it
    prediction: Prediction | None
    hits: Sequence[Hit]


class CustomerService(Service[Turn, Reply]):
    """Answers customers from approved replies and help articles; asks back or hands over when it is not sure.

    `intents` scores what a message wants, for the languages of `intent_locales`; `help` (a dense retriever) finds
    articles in any language of its encoder. `sink` names the section of [sinks] that receives hand-off tickets; they
    are written to the outbox in the transaction of the turn. `answer` is the calibrated confidence from which a reply
    is given (the classifier's own threshold by default), `article` the cosine from which an article is quoted,
    `questions` how often in a row the desk asks back (up to 100). Raises ConfigError for values outside their range.
    """

    def __init__(
        self,
        store: Store,
        intents: Classifier,
        *,
        replies: Path,
        help: Retriever | None = None,
        sink: str = "",
        intent_locales: Sequence[str] = ("en",),
        answer: float | None = None,
        choice: float = 0.35,
        article: float = 0.45,
        questions: int = 1,
        section_name: str = "desk",
        clock: Callable[[], datetime],
    ) -> None:
        self.store, self.intents, self.help, self.sink = store, intents, help, sink
        self.replies = Replies.read(replies)
        Limits(DEFAULT_ANSWER if answer is None else answer, choice, article, questions)  # refused now, not when asked
        self._answer, self._choice, self._article, self._questions = answer, choice, article, questions
        self._locales, self.name, self._clock = tuple(intent_locales) or ("en",), section_name, clock
        self._redactor = Redactor()

    @property
    def desk(self) -> Desk:
        """What a person at the desk may do."""
        return Desk(self.store, self._clock, service=self.name)

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        answer = self._answer if self._answer is not None else (self.intents.threshold or DEFAULT_ANSWER)
        return Limits(answer, self._choice, self._article, self._questions)

    def warm_up(self) -> None:
        """Load the models now."""
        self.intents.predict_many(["hello"])
        if self.help is not None:
            self.help.search("hello", k=1)

    def answer_many(self, requests: Sequence[Turn]) -> list[Reply]:
        """Answer a batch of turns; all of it is durable when this returns."""
        understood = self._understand(requests)
        with self.store.transaction() as tx:
            return [self._answer_one(tx, one) for one in understood]

    def hand_over(self, request: Turn, answer: Answer, objections: Sequence[Objection]) -> Reply:
        """Take back a withheld reply and hand the conversation to a person."""
        if not isinstance(answer, Reply):
            raise TypeError(f"hand_over takes a Reply, not {type(answer).__name__}")
        reasons = tuple(f"withheld: {objection.reason}" for objection in objections)
        with self.store.transaction() as tx:
            conversation = self._conversation(tx, replace(request, conversation=answer.conversation), answer.locale)
            if (turn := conversation.answered(request.id)) is not None:
                turn.text, turn.action, turn.reason = phrase("hand_over", answer.locale), "hand_over", reasons[0]
                reply = replace(
                    answer,
                    value=turn.text,
                    action="hand_over",
                    abstained=True,
                    reasons=reasons,
                    evidence=(),
                    options=(),
                )
                turn.reply = _to_row(reply)
                tx.session.add(turn)
            else:
                reply = Reply(None, 0.0, abstained=True, reasons=reasons, conversation=answer.conversation)
            self._ticket(tx, conversation, Decision("hand_over", reasons[0], answer.intent, answer.confidence))
        return reply

    def _understand(self, turns: Sequence[Turn]) -> list[_Understood]:
        for turn in turns:
            if not turn.text.strip():
                raise DataError("A turn needs a text", "It is empty", 'text = "…"')
            if len(turn.text) > MAX_CHARS:
                raise DataError(
                    f"A turn has at most {MAX_CHARS} characters", f"This one has {len(turn.text)}", "a shorter text"
                )
        texts = [self._redactor.redact(turn.text) for turn in turns]
        locales = [_language(turn.locale) or detect(text) for turn, text in zip(turns, texts, strict=True)]
        # All are searched before some are classified: with one encoder for both, its cache then knows every text.
        hits = self.help.search_many(texts, k=3) if self.help is not None else [[] for _ in texts]
        spoken = [number for number, locale in enumerate(locales) if not locale or locale in self._locales]
        predictions: dict[int, Prediction] = {}
        if spoken:
            predictions = dict(zip(spoken, self.intents.predict_many([texts[n] for n in spoken]), strict=True))
        return [_Understood(turn, texts[n], locales[n], predictions.get(n), hits[n]) for n, turn in enumerate(turns)]

    def _answer_one(self, tx: Transaction, one: _Understood) -> Reply:
        conversation = self._conversation(tx, one.turn, one.locale)
        if one.turn.id and (before := conversation.answered(one.turn.id)) is not None:
            return _from_row(before)
        one = self._in_language(one, conversation)
        if conversation.row.state == "closed":  # whoever writes again is answered again
            conversation.row.state = "bot"
        situation = self._situation(conversation, one)
        decision = decide(situation, self.limits)
        reply = self._reply(conversation, one, decision)
        conversation.add("customer", one.text, request_id=one.turn.id, intent=decision.intent)
        self._remember(conversation, decision)
        conversation.add(
            "desk",
            str(reply.value or ""),
            action=decision.action,
            intent=decision.intent,
            confidence=decision.confidence,
            reason=decision.reason,
            request_id=one.turn.id,
            reply=_to_row(reply),
        )
        if decision.action == "hand_over":
            self._ticket(tx, conversation, decision)
        return reply

    def _in_language(self, one: _Understood, conversation: Conversation) -> _Understood:
        """A bare "1" and a chosen option are in the language of the conversation, whatever their words look like."""
        row = conversation.row
        picked = row.locale if self._chosen(one.text, row.offered, row.locale) else ""
        row.locale = locale = picked or one.locale or row.locale or self._locales[0]
        return replace(one, locale=locale, prediction=one.prediction if locale in self._locales else None)

    def _conversation(self, tx: Transaction, turn: Turn, locale: str) -> Conversation:
        name = turn.conversation or uuid.uuid4().hex
        return Conversation.load(
            tx, name, service=self.name, subject=turn.customer, locale=locale, now=turn.at or self._clock()
        )

    def _situation(self, conversation: Conversation, one: _Understood) -> Situation:
        labels = tuple(one.prediction.labels) if one.prediction else ()
        offered = conversation.row.offered
        chosen = self._chosen(one.text, offered, one.locale)
        known = {*labels, *offered}
        variables = one.turn.context
        return Situation(
            state=conversation.row.state,
            wants_person=wants_person(one.text),
            labels=labels,
            scores=tuple(float(score) for score in one.prediction.scores) if one.prediction else (),
            approved=frozenset(label for label in known if self.replies.approved(label, one.locale, variables)),
            article_score=one.hits[0].score if one.hits else 0.0,
            chosen=chosen,
            questions_asked=conversation.row.questions_asked,
        )

    def _chosen(self, text: str, offered: Sequence[str], locale: str) -> str:
        """Return the offered intent that a customer picked by its number, its title or its name."""
        said = text.strip().strip(".。)）").lower()
        for number, intent in enumerate(offered, start=1):
            if said in {str(number), self.replies.title(intent, locale).lower(), intent.lower()}:
                return intent
        return ""

    def _reply(self, conversation: Conversation, one: _Understood, decision: Decision) -> Reply:
        name, locale = conversation.row.id, one.locale
        seed = f"{name}/{conversation.row.turns}"
        value: str | None
        evidence: Sequence[Hit] = ()
        options: tuple[str, ...] = ()
        if decision.action == "reply":
            value = self.replies.render(decision.intent, locale, one.turn.context, seed=seed)
        elif decision.action == "article":
            value, evidence = _quote(one.hits[0]), one.hits[:1]
        elif decision.action == "ask":
            options = tuple(self.replies.title(intent, locale) for intent in decision.options)
            value = phrase("choose" if options else "rephrase", locale)
        else:
            value = phrase(decision.action, locale)
        return Reply(
            value,
            decision.confidence,
            evidence=tuple(evidence),
            abstained=decision.action in ("ask", "hand_over", "silent"),
            reasons=(decision.reason,),
            conversation=name,
            action=decision.action,
            intent=decision.intent,
            locale=locale,
            options=options,
        )

    def _remember(self, conversation: Conversation, decision: Decision) -> None:
        row = conversation.row
        row.offered = list(decision.options)
        row.questions_asked = row.questions_asked + 1 if decision.action == "ask" else 0
        if decision.action == "hand_over":
            row.state = "person"
            row.handed_over += 1

    def _ticket(self, tx: Transaction, conversation: Conversation, decision: Decision) -> None:
        """Write the hand-off into the outbox; only `flow` delivers it."""
        row = conversation.row
        if row.state != "person":
            row.state, row.handed_over = "person", row.handed_over + 1
            tx.session.add(row)
        if not self.sink:
            return
        transcript = conversation.transcript()
        asked = [turn["text"] for turn in transcript if turn["speaker"] == "customer"]
        payload: dict[str, Any] = {
            "title": (asked[-1] if asked else "A conversation needs a person")[:120],
            "description": "\n".join(f"{turn['speaker']}: {turn['text']}" for turn in transcript),
            "conversation": row.id,
            "customer": row.subject,
            "intent": decision.intent,
            "confidence": round(decision.confidence, 4),
            "reason": decision.reason,
            "locale": row.locale,
            "transcript": transcript,
        }
        key = f"hand-off/{self.name}/{row.id}/{row.handed_over}"
        tx.send(self.sink, "ticket", payload, key=key, order=row.id, subject=row.subject)


def _language(locale: str) -> str:
    """Return "zh" for "zh-CN"."""
    return locale.partition("-")[0].lower()


def _quote(hit: Hit, max_chars: int = 600) -> str:
    """Return the whole first sentences of an article, word for word."""
    end = 0
    for piece in sentences(hit.text):
        if end and piece.end > max_chars:
            break
        end = piece.end
    return hit.text[:end]


_BASE = ("value", "confidence", "abstained", "conversation", "action", "intent", "locale")


def _to_row(reply: Reply) -> dict[str, Any]:
    evidence = [
        {"id": hit.id, "score": hit.score, "text": hit.text, "title": hit.title, "url": hit.url}
        for hit in reply.evidence
    ]
    plain = {name: getattr(reply, name) for name in _BASE}
    return {**plain, "reasons": list(reply.reasons), "options": list(reply.options), "evidence": evidence}


def _from_row(turn: TurnRow) -> Reply:
    stored: Mapping[str, Any] = turn.reply
    return Reply(
        **{name: stored[name] for name in _BASE},
        reasons=tuple(stored["reasons"]),
        options=tuple(stored["options"]),
        evidence=tuple(Hit(**hit) for hit in stored["evidence"]),
    )
