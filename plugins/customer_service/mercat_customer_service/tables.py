"""The plugin's own tables and the questions put to them. `subject` lets erasure find a customer's rows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Index, MetaData, Text, UniqueConstraint, func, tuple_, update
from sqlalchemy.orm import registry
from sqlmodel import Field, Session, SQLModel, col, select

from mercat.store.types import JsonText, UtcDateTime

_REGISTRY = registry(metadata=MetaData())


class _Base(SQLModel, registry=_REGISTRY):
    """What the plugin's tables share: one MetaData of their own."""


class ConversationRow(_Base, table=True):
    """A conversation. `state` is "bot", "person" or "closed"; `offered` the intents of a pending choice."""

    __tablename__ = "customer_service_conversations"
    __table_args__ = {"info": {"expires_by": "updated_at"}}

    id: str = Field(primary_key=True, sa_type=Text)
    service: str = Field(sa_type=Text, default="")
    subject: str = Field(sa_type=Text, default="", index=True)
    state: str = Field(sa_type=Text, default="bot")
    locale: str = Field(sa_type=Text, default="")
    offered: list[str] = Field(default_factory=list, sa_type=JsonText, nullable=False)
    questions_asked: int = 0
    turns: int = 0
    handed_over: int = 0
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class TurnRow(_Base, table=True):
    """One message, redacted. `speaker` is "customer", "desk" or "person"."""

    __tablename__ = "customer_service_turns"
    __table_args__ = (
        UniqueConstraint("conversation", "number", name="uq_customer_service_turns_number"),
        Index("ix_customer_service_turns_request", "request_id"),
        {"info": {"expires_by": "at"}},
    )

    id: int | None = Field(default=None, primary_key=True)
    conversation: str = Field(sa_type=Text)
    number: int
    speaker: str = Field(sa_type=Text)
    text: str = Field(sa_type=Text)
    action: str = Field(sa_type=Text, default="")
    intent: str = Field(sa_type=Text, default="")
    confidence: float = 0.0
    reason: str = Field(sa_type=Text, default="")
    request_id: str = Field(sa_type=Text, default="")
    subject: str = Field(sa_type=Text, default="", index=True)
    reply: dict[str, Any] = Field(default_factory=dict, sa_type=JsonText, nullable=False)
    at: datetime = Field(sa_type=UtcDateTime)


metadata = _Base.metadata


def locked(session: Session, conversation: str) -> ConversationRow | None:
    """Return a conversation and take its lock until the end of the transaction."""
    return session.get(ConversationRow, conversation, with_for_update=True)


def latest(session: Session, *, service: str, state: str, limit: int) -> Sequence[ConversationRow]:
    """Return the latest conversations of a service, those in the hands of a person first."""
    person_first = col(ConversationRow.state) != "person"
    query = select(ConversationRow).order_by(person_first, col(ConversationRow.updated_at).desc())
    query = query.where(ConversationRow.service == service)
    if state:
        query = query.where(ConversationRow.state == state)
    return session.exec(query.limit(limit)).all()


def by_state(session: Session, service: str) -> dict[str, int]:
    """Return how many conversations of a service are in each state."""
    query = select(ConversationRow.state, func.count()).where(ConversationRow.service == service)
    return dict(session.exec(query.group_by(col(ConversationRow.state))).all())


def last_turns(session: Session, conversations: Sequence[str]) -> dict[str, TurnRow]:
    """Return what the customer, or a person at the desk, said last in each conversation."""
    last = select(TurnRow.conversation, func.max(TurnRow.number))
    last = last.where(col(TurnRow.conversation).in_(conversations), TurnRow.speaker != "desk")
    keys = [tuple(row) for row in session.exec(last.group_by(TurnRow.conversation)).all()]
    found = select(TurnRow).where(tuple_(col(TurnRow.conversation), col(TurnRow.number)).in_(keys))
    return {turn.conversation: turn for turn in session.exec(found).all()} if keys else {}


def give_to(session: Session, conversation: str, subject: str) -> None:
    """Put a customer's name on the turns of a conversation that began without one, so that erasure finds them."""
    session.exec(update(TurnRow).where(col(TurnRow.conversation) == conversation).values(subject=subject))


def turns_of(session: Session, conversation: str) -> Sequence[TurnRow]:
    """Return all turns of a conversation in order."""
    query = select(TurnRow).where(TurnRow.conversation == conversation).order_by(col(TurnRow.number))
    return session.exec(query).all()


def answer_to(session: Session, conversation: str, request_id: str, *, speaker: str = "desk") -> TurnRow | None:
    """Return the desk's (or a person's) turn that answered a request, if one did."""
    query = select(TurnRow).where(
        TurnRow.request_id == request_id, TurnRow.conversation == conversation, TurnRow.speaker == speaker
    )
    return session.exec(query).first()
