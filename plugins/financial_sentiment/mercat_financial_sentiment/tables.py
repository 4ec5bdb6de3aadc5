"""The plugin's own tables and the questions put to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Index, MetaData, Text, func
from sqlalchemy.orm import aliased, registry
from sqlmodel import Field, Session, SQLModel, col, delete, select

from mercat.store.types import JsonText, UtcDateTime

_REGISTRY = registry(metadata=MetaData())


class _Base(SQLModel, registry=_REGISTRY):
    """What the plugin's tables share: one MetaData of their own."""


class MentionRow(_Base, table=True):
    """One article about one topic. `copy_of` is the article that told the story first, empty for that one itself."""

    __tablename__ = "financial_sentiment_mentions"
    __table_args__ = (
        Index("ix_financial_sentiment_mentions_topic", "monitor", "topic", "event_at"),
        Index("ix_financial_sentiment_mentions_event", "monitor", "event_at"),
    )

    monitor: str = Field(primary_key=True, sa_type=Text)
    article: str = Field(primary_key=True, sa_type=Text)
    topic: str = Field(primary_key=True, sa_type=Text)
    event_at: datetime = Field(sa_type=UtcDateTime)
    label: str = Field(sa_type=Text)
    negative: float
    positive: float
    abstained: bool = False
    copy_of: str = Field(sa_type=Text, default="")
    title: str = Field(sa_type=Text, default="")
    url: str = Field(sa_type=Text, default="")
    source: str = Field(sa_type=Text, default="")
    locale: str = Field(sa_type=Text, default="")
    subject: str = Field(sa_type=Text, default="")


class AlertRow(_Base, table=True):
    """An alert. `state` is firing, acknowledged or resolved; `drivers` are the articles behind it."""

    __tablename__ = "financial_sentiment_alerts"
    __table_args__ = (
        Index("ix_financial_sentiment_alerts_topic", "monitor", "topic", "fired_at"),
        {"info": {"expires_by": "changed_at"}},
    )

    id: str = Field(primary_key=True, sa_type=Text)
    monitor: str = Field(sa_type=Text)
    topic: str = Field(sa_type=Text)
    fired_at: datetime = Field(sa_type=UtcDateTime)
    state: str = Field(sa_type=Text, default="firing")
    stories: int
    negative: int
    baseline: float
    p_value: float
    reason: str = Field(sa_type=Text)
    drivers: list[dict[str, Any]] = Field(default_factory=list, sa_type=JsonText, nullable=False)
    acknowledged_by: str = Field(sa_type=Text, default="")
    changed_at: datetime = Field(sa_type=UtcDateTime)


metadata = _Base.metadata


def forget(session: Session, monitor: str, articles: Sequence[str]) -> None:
    """Remove all mentions of some articles."""
    session.exec(delete(MentionRow).where(col(MentionRow.monitor) == monitor, col(MentionRow.article).in_(articles)))


def orphans(session: Session, monitor: str, articles: Sequence[str]) -> Sequence[MentionRow]:
    """Return the copies of some articles that are no longer there, oldest first."""
    told = aliased(MentionRow)
    original = select(told.article).where(
        told.monitor == monitor, told.article == MentionRow.copy_of, told.topic == MentionRow.topic
    )
    copies = select(MentionRow).where(MentionRow.monitor == monitor, col(MentionRow.copy_of).in_(articles))
    copies = copies.where(~original.exists())
    return session.exec(copies.order_by(col(MentionRow.event_at), col(MentionRow.article))).all()


def between(session: Session, monitor: str, start: datetime, end: datetime, topic: str = "") -> Sequence[MentionRow]:
    """Return mentions with start < event_at <= end, oldest first."""
    query = select(MentionRow).where(
        MentionRow.monitor == monitor, MentionRow.event_at > start, MentionRow.event_at <= end
    )
    if topic:
        query = query.where(MentionRow.topic == topic)
    return session.exec(query.order_by(col(MentionRow.event_at), col(MentionRow.article))).all()


def alerts(session: Session, monitor: str, *, topic: str = "", limit: int = 100) -> Sequence[AlertRow]:
    """Return the latest alerts first."""
    query = select(AlertRow).where(AlertRow.monitor == monitor)
    if topic:
        query = query.where(AlertRow.topic == topic)
    return session.exec(query.order_by(col(AlertRow.fired_at).desc(), col(AlertRow.id)).limit(limit)).all()


def last_event(session: Session, monitor: str) -> datetime | None:
    """Return the time of the newest mention."""
    return session.exec(select(func.max(MentionRow.event_at)).where(MentionRow.monitor == monitor)).first()


def alert(session: Session, id: str) -> AlertRow | None:
    """Return one alert and take its lock."""
    return session.get(AlertRow, id, with_for_update=True)
