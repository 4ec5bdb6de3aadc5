"""The trend page: topics with their change, the series of one topic, the stories of a day, the alerts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from fastapi import HTTPException, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from mercat.errors import DataError, UnknownName
from mercat.web import Caller, Page, Router, ask, require
from mercat.web.language import language_of, translator
from mercat_financial_sentiment.service import FinancialSentiment, check_moment
from mercat_financial_sentiment.tables import AlertRow, MentionRow
from mercat_financial_sentiment.trends import by_day
from mercat_financial_sentiment.values import Signal, SignalQuery

PACKAGE = "mercat_financial_sentiment"
DAYS = (30, 60, 120)
ALERTS_SHOWN = 12
DAY = timedelta(days=1)
_ORDER = {"surge": 0, "calm": 1, "thin": 2}


@dataclass(frozen=True, slots=True)
class Row:
    """A topic in the list: its signal and how far its negative share is from the usual one, in points."""

    id: str
    title: str
    signal: Signal

    @property
    def share(self) -> float:
        return self.signal.negative / self.signal.stories if self.signal.stories else 0.0

    @property
    def change(self) -> int:
        return round(100 * (self.share - self.signal.baseline))


def monitor(service: FinancialSentiment) -> Router:
    """Return the pages of one monitor. All of it is as of one moment, by default that of the newest article."""
    router = Router(PACKAGE)

    @router.page(Page("trends.title", "", "trends.html", nav="trends.nav", note="trends.note"))
    async def trends(request: Request, topic: str = "", at: str = "", days: int = DAYS[1]) -> dict[str, Any]:
        moment, asked = await run_in_threadpool(_moment, service, at)
        rows = await _topics(request, service, moment)
        chosen = next((row for row in rows if row.id == topic), rows[0] if rows else None)
        shown = await run_in_threadpool(_day, service, chosen.id, moment.date(), moment, request) if chosen else {}
        return {
            "rows": rows,
            "chosen": chosen,
            "days": days if days in DAYS else DAYS[1],
            "choices": DAYS,
            "asked": asked,
            "moment": moment,
            "age_days": (service.now() - moment).days,
            "alerts": await run_in_threadpool(_alerts, service, moment),
            "topic_title": lambda topic: service.topics.title(topic, language_of(request)),
            **shown,
        }

    @router.get("/series.json", dependencies=[require("ask")])
    def series(request: Request, topic: str, at: str = "", days: int = DAYS[1]) -> dict[str, Any]:
        """Return stories per UTC day by polarity, copies left out, and the alerts: x and at in Unix seconds."""
        moment, _ = _moment(service, at)
        return _series(service, _known(service, topic), moment, min(max(days, 1), 366), language_of(request))

    @router.get("/days/{topic}/{day}", dependencies=[require("ask")], include_in_schema=False)
    def stories(request: Request, topic: str, day: date, at: str = "") -> Response:
        moment, asked = _moment(service, at)
        check_moment(datetime(day.year, day.month, day.day, tzinfo=UTC))
        shown = _day(service, _known(service, topic), day, moment, request)
        return router.render(request, "day.html", asked=asked, **shown)

    @router.post("/alerts/{alert}/acknowledge", include_in_schema=False)
    def acknowledge(request: Request, alert: str, caller: Caller = require("operate")) -> Response:
        try:
            service.acknowledge(alert, by=caller.name)
        except UnknownName as error:
            raise HTTPException(404, error.asked) from error
        if not request.headers.get("HX-Request"):
            return RedirectResponse(router.base or "/", 303)
        row = next(row for row in service.alerts(limit=1000) if row.id == alert)
        title = service.topics.title(row.topic, language_of(request))
        return router.render(request, "alert.html", alert=row, topic_title=lambda topic: title, asked="")

    return router


async def _topics(request: Request, service: FinancialSentiment, at: datetime) -> list[Row]:
    """Return the topics, those with a surge first, then those with the largest change."""
    ids, language = service.topics.ids(), language_of(request)
    asked = (ask(request, service.name, SignalQuery(topic=topic, at=at)) for topic in ids)
    signals = await asyncio.gather(*asked)
    rows = [
        Row(topic, service.topics.title(topic, language), signal)
        for topic, signal in zip(ids, signals, strict=True)
        if isinstance(signal, Signal)
    ]
    return sorted(rows, key=lambda row: (_ORDER.get(row.signal.value, 3), -row.change, row.title))


def _series(service: FinancialSentiment, topic: str, at: datetime, days: int, language: str) -> dict[str, Any]:
    t = translator(PACKAGE, language)
    last = at.replace(hour=0, minute=0, second=0, microsecond=0)
    wanted = [last - DAY * number for number in reversed(range(days))]
    mentions = service.mentions(topic, wanted[0] - timedelta(microseconds=1), at)
    found = {row.day: row for row in by_day(mentions)}
    marks = [row for row in _alerts(service, at, limit=1000) if row.topic == topic and row.fired_at >= wanted[0]]
    series = [
        {"name": name, "label": t(f"polarity.{name}"), "values": [_count(found.get(day), name) for day in wanted]}
        for name in ("negative", "neutral", "positive")
    ]
    return {
        "x": [int(day.timestamp()) for day in wanted],
        "days": [day.date().isoformat() for day in wanted],
        "series": series,
        "alerts": [{"id": row.id, "at": int(row.fired_at.timestamp()), "state": row.state} for row in marks],
        "labels": {"alert": t("trends.alert"), "day": t("trends.day")},
    }


def _count(row: Any, name: str) -> int:
    return int(getattr(row, name)) if row is not None else 0


def _day(service: FinancialSentiment, topic: str, day: date, at: datetime, request: Request) -> dict[str, Any]:
    """Return the stories of a UTC day that were known at a moment, newest first, each with how often it was copied."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    end = min(start + DAY - timedelta(microseconds=1), at)
    mentions = service.mentions(topic, start - timedelta(microseconds=1), end)
    copies: dict[str, int] = {}
    for mention in mentions:
        if mention.copy_of:
            copies[mention.copy_of] = copies.get(mention.copy_of, 0) + 1
    return {
        "topic": topic,
        "title_of_topic": service.topics.title(topic, language_of(request)),
        "day": day,
        "before": day - DAY,
        "after": day + DAY if start + DAY <= at else None,
        "stories": _newest_first(mentions),
        "copies": copies,
    }


def _newest_first(mentions: Sequence[MentionRow]) -> list[MentionRow]:
    """Return the stories; a copy whose first telling was on another day stands for it."""
    here = {mention.article for mention in mentions}
    return [mention for mention in reversed(mentions) if not mention.copy_of or mention.copy_of not in here]


def _alerts(service: FinancialSentiment, at: datetime, *, limit: int = ALERTS_SHOWN) -> list[AlertRow]:
    """Return the latest alerts as they were at a moment: what happened to them later is not told."""
    rows = [row for row in service.alerts(limit=1000) if row.fired_at <= at][:limit]
    for row in rows:
        if row.state == "resolved" and row.changed_at > at:
            row.state = "firing"
    return rows


def _moment(service: FinancialSentiment, at: str) -> tuple[datetime, str]:
    """Return the moment that a page is about, and how it was asked: "" for the newest article's."""
    if not at.strip():
        return service.last_event() or service.now(), ""
    try:
        moment = datetime.fromisoformat(at.strip().replace(" ", "+"))
    except ValueError:
        raise DataError(f"The moment '{at[:40]}' cannot be used", "It is not a time", "2026-04-19T20:00") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    check_moment(moment)
    return moment.astimezone(UTC), moment.astimezone(UTC).isoformat(timespec="minutes").removesuffix("+00:00")


def _known(service: FinancialSentiment, topic: str) -> str:
    if topic not in service.topics.ids():
        raise HTTPException(404, "There is no such topic")
    return topic
