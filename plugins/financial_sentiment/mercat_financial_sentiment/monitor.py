"""The task that watches: every new or changed article is scored, counted in event time, and may raise an alert.

Mentions, alerts, outbox messages and the task's cursor are written in one transaction, so that an article is counted
once and an alert raised once whatever dies when.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mercat.classifiers.base import Classifier
from mercat.store import Change, Transaction
from mercat.text.duplicates import jaccard, shingles
from mercat.values import Document
from mercat_financial_sentiment import tables
from mercat_financial_sentiment.detectors import BinomialSurge, Detector, Verdict, check_length
from mercat_financial_sentiment.tables import AlertRow, MentionRow
from mercat_financial_sentiment.topics import Topics
from mercat_financial_sentiment.trends import counts_at, drivers

STORY_WINDOW = timedelta(hours=72)
STORY_LIKENESS = 0.8  # Jaccard likeness of runs of four characters of the titles


@dataclass(frozen=True, slots=True)
class Scored:
    """What `prepare` found out before the transaction."""

    changed: Sequence[str]
    mentions: Sequence[MentionRow]


class Monitor:
    """Scores articles of one collection and alerts on a surge of negative news about a topic.

    `window_hours` is the stretch that is judged, `history_days` the one before it that says what is usual,
    `quiet_hours` the time after an alert in which the topic raises no other. `sink` names the section of [sinks] that
    receives alerts.
    """

    kind = "documents"

    def __init__(
        self,
        polarity: Classifier,
        *,
        topics: Path,
        collection: str,
        sink: str = "",
        window_hours: float = 24.0,
        history_days: float = 28.0,
        quiet_hours: float = 24.0,
        alpha: float = 1e-4,
        min_negative: int = 5,
        section_name: str = "news",
        clock: Callable[[], datetime],
    ) -> None:
        check_length("window_hours", window_hours)
        check_length("history_days", history_days)
        if quiet_hours:  # 0 tells every time
            check_length("quiet_hours", quiet_hours)
        self.name, self.collection = f"financial-sentiment/monitor/{section_name}", collection
        self._monitor, self._polarity, self._topics, self._sink = section_name, polarity, Topics.read(topics), sink
        self._window, self._history = timedelta(hours=window_hours), timedelta(days=history_days)
        self._quiet, self._clock = timedelta(hours=quiet_hours), clock
        self._detector: Detector = BinomialSurge(alpha=alpha, min_negative=min_negative)

    def prepare(self, changes: Sequence[Change]) -> Scored:
        """Classify the articles that name a topic."""
        articles = [change.row for change in changes if isinstance(change.row, Document)]
        about = [(article, self._topics.find(f"{article.title}\n{article.text}")) for article in articles]
        about = [(article, topics) for article, topics in about if topics]
        scores = self._polarity.scores([article.text or article.title for article, _ in about]) if about else ()
        mentions = []
        for (article, topics), row in zip(about, scores, strict=True):
            mentions += self._mentions(article, topics, [float(score) for score in row])
        return Scored([change.id for change in changes], sorted(mentions, key=lambda m: (m.event_at, m.article)))

    def commit(self, prepared: Scored, tx: Transaction) -> None:
        """Write mentions, then judge every topic at every new mention, in the order of event time."""
        tables.forget(tx.session, self._monitor, prepared.changed)
        for topic in dict.fromkeys(mention.topic for mention in prepared.mentions):
            new = [mention for mention in prepared.mentions if mention.topic == topic]
            self._write(tx, topic, new)
            self._judge(tx, topic, new)
        self._adopt(tx, prepared.changed)

    def _mentions(self, article: Document, topics: Sequence[str], scores: Sequence[float]) -> list[MentionRow]:
        by_label = dict(zip(self._polarity.labels, scores, strict=True))
        label = max(by_label, key=lambda name: by_label[name])
        return [
            MentionRow(
                monitor=self._monitor,
                article=article.id,
                topic=topic,
                event_at=article.published_at or article.updated_at or self._clock(),
                label=label,
                negative=by_label.get("negative", 0.0),
                positive=by_label.get("positive", 0.0),
                abstained=by_label[label] < self._polarity.threshold,
                title=article.title or article.text[:120],
                url=article.url,
                source=str(article.metadata.get("source") or article.source),
                locale=article.locale,
                subject=article.subject,
            )
            for topic in topics
        ]

    def _write(self, tx: Transaction, topic: str, new: Sequence[MentionRow]) -> None:
        first, last = new[0].event_at, new[-1].event_at
        told = [(m, _shape(m)) for m in tables.between(tx.session, self._monitor, first - STORY_WINDOW, last, topic)]
        for mention in new:
            shape = _shape(mention)
            recent = [(m, s) for m, s in told if mention.event_at - STORY_WINDOW < m.event_at <= mention.event_at]
            same = next((m for m, s in recent if jaccard(s, shape) >= STORY_LIKENESS), None)
            mention.copy_of = (same.copy_of or same.article) if same else ""
            told.append((mention, shape))
            tx.session.add(mention)
        tx.session.flush()

    def _adopt(self, tx: Transaction, changed: Sequence[str]) -> None:
        """Where the article that told a story first is gone, its oldest copy tells it now."""
        heirs: dict[tuple[str, str], str] = {}
        for copy in tables.orphans(tx.session, self._monitor, changed):
            heir = heirs.setdefault((copy.topic, copy.copy_of), copy.article)
            copy.copy_of = "" if heir == copy.article else heir
            tx.session.add(copy)
        tx.session.flush()

    def _judge(self, tx: Transaction, topic: str, new: Sequence[MentionRow]) -> None:
        first, last = new[0].event_at, new[-1].event_at
        history = tables.between(tx.session, self._monitor, first - self._window - self._history, last, topic)
        alerts = list(tables.alerts(tx.session, self._monitor, topic=topic, limit=1000))
        for at in sorted({mention.event_at for mention in new}):
            counts = counts_at(history, at, window=self._window, history=self._history)
            verdict = self._detector.judge(counts)
            if verdict.state == "surge" and not self._is_quiet(alerts, at):
                alerts.insert(0, self._raise(tx, topic, at, history, verdict, (counts.stories, counts.negative)))
            elif verdict.state != "surge":
                self._resolve(tx, alerts, at)

    def _is_quiet(self, alerts: Sequence[AlertRow], at: datetime) -> bool:
        return any(at == alert.fired_at or abs(at - alert.fired_at) < self._quiet for alert in alerts)

    def _raise(
        self, tx: Transaction, topic: str, at: datetime, history: Any, verdict: Verdict, counts: tuple[int, int]
    ) -> AlertRow:
        behind = drivers(history, at, window=self._window)
        row = AlertRow(
            id=hashlib.sha256(f"{self._monitor}/{topic}/{at.isoformat()}".encode()).hexdigest()[:16],
            monitor=self._monitor,
            topic=topic,
            fired_at=at,
            stories=counts[0],
            negative=counts[1],
            baseline=verdict.baseline,
            p_value=verdict.p_value,
            reason=f"{self._topics.title(topic)}: {verdict.reason}",
            drivers=[
                {"article": m.article, "title": m.title, "url": m.url, "negative": round(m.negative, 4)} for m in behind
            ],
            changed_at=at,
        )
        tx.session.add(row)
        tx.session.flush()
        self._send(tx, row)
        return row

    def _resolve(self, tx: Transaction, alerts: Sequence[AlertRow], at: datetime) -> None:
        for alert in alerts:
            if alert.state != "resolved" and at > alert.fired_at + self._window:
                alert.state, alert.changed_at = "resolved", at
                tx.session.add(alert)
                tx.session.flush()
                self._send(tx, alert)

    def _send(self, tx: Transaction, alert: AlertRow) -> None:
        if not self._sink:
            return
        payload = {
            "title": alert.reason,
            "description": "\n".join(f"- {driver['title']} {driver['url']}".rstrip() for driver in alert.drivers),
            "alert": alert.id,
            "topic": alert.topic,
            "state": alert.state,
            "fired_at": alert.fired_at.isoformat(),
            "stories": alert.stories,
            "negative": alert.negative,
            "baseline": round(alert.baseline, 4),
            "drivers": alert.drivers,
        }
        tx.send(self._sink, "alert", payload, key=f"alert/{alert.id}/{alert.state}", order=alert.topic)


def _shape(mention: MentionRow) -> frozenset[str]:
    return shingles(mention.title, unit="char", length=4)
