"""The service: the polarity of a text, or the state of a topic as of a moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from mercat.classifiers.base import Classifier
from mercat.errors import DataError, unknown_name
from mercat.services import Service
from mercat.store import Store
from mercat.values import Hit
from mercat_financial_sentiment import tables
from mercat_financial_sentiment.detectors import BinomialSurge, Detector, Verdict, check_length
from mercat_financial_sentiment.tables import AlertRow, MentionRow
from mercat_financial_sentiment.topics import Topics
from mercat_financial_sentiment.trends import counts_at, drivers
from mercat_financial_sentiment.values import Signal, SignalQuery

MAX_HOURS = 24 * 366
YEARS = range(1900, 2200)


class FinancialSentiment(Service[SignalQuery, Signal]):
    """Answers about one monitor: `monitor` is the name of its section in [tasks].

    A text is classified. A topic is judged on the stories in the `hours` before `at`, as it would have been then:
    nothing that happened later is looked at. `alpha` and `min_negative` should be those of the monitor.
    """

    def __init__(
        self,
        store: Store,
        polarity: Classifier,
        *,
        topics: Path,
        monitor: str,
        history_days: float = 28.0,
        alpha: float = 1e-4,
        min_negative: int = 5,
        section_name: str = "signals",
        clock: Callable[[], datetime],
    ) -> None:
        check_length("history_days", history_days)
        self.store, self.polarity, self.topics, self.monitor = store, polarity, Topics.read(topics), monitor
        self._history, self._clock, self.name = timedelta(days=history_days), clock, section_name
        self._detector: Detector = BinomialSurge(alpha=alpha, min_negative=min_negative)

    def warm_up(self) -> None:
        """Load the model now."""
        self.polarity.predict_many(["hello"])

    def answer_many(self, requests: Sequence[SignalQuery]) -> list[Signal]:
        """Answer a batch; texts are encoded together."""
        for request in requests:
            self._check(request)
        texts = [request.text for request in requests if request.text]
        scored = iter(self.polarity.scores(texts).tolist() if texts else [])
        return [
            self._of_text(request, next(scored)) if request.text else self._of_topic(request) for request in requests
        ]

    def mentions(self, topic: str, start: datetime, end: datetime) -> list[MentionRow]:
        """Return the mentions of a topic in a stretch of time, oldest first."""
        with self.store.transaction() as tx:
            rows = list(tables.between(tx.session, self.monitor, start, end, topic))
            tx.session.expunge_all()
            return rows

    def alerts(self, *, limit: int = 100) -> list[AlertRow]:
        """Return the latest alerts first."""
        with self.store.transaction() as tx:
            rows = list(tables.alerts(tx.session, self.monitor, limit=limit))
            tx.session.expunge_all()
            return rows

    def now(self) -> datetime:
        """Return the moment that questions without one are about."""
        return self._clock()

    def last_event(self) -> datetime | None:
        """Return the time of the newest article that named a topic."""
        with self.store.transaction() as tx:
            return tables.last_event(tx.session, self.monitor)

    def acknowledge(self, alert: str, *, by: str) -> None:
        """Say that somebody is on it. Raises UnknownName."""
        with self.store.transaction() as tx:
            row = tables.alert(tx.session, alert)
            if row is None:
                raise unknown_name("alert", alert, [], next="the list of alerts")
            if row.state == "firing":
                row.state, row.acknowledged_by, row.changed_at = "acknowledged", by, self._clock()
                tx.session.add(row)

    def _check(self, request: SignalQuery) -> None:
        if bool(request.text.strip()) == bool(request.topic):
            found = "It has both" if request.topic else "It has neither"
            raise DataError("A signal is asked with a text or with a topic", found, f'topic = "{self.topics.ids()[0]}"')
        if request.topic and request.topic not in self.topics.ids():
            raise unknown_name("topic", request.topic, self.topics.ids(), next="the file of topics")
        if not 1 <= request.hours <= MAX_HOURS:
            raise DataError(f"A signal over {request.hours} hours", f"It takes 1 to {MAX_HOURS}", "hours = 24")
        if request.at is not None:
            check_moment(request.at)

    def _of_text(self, request: SignalQuery, scores: Sequence[float]) -> Signal:
        by_label = dict(zip(self.polarity.labels, scores, strict=True))
        label = max(by_label, key=lambda name: by_label[name])
        unsure = by_label[label] < self.polarity.threshold
        return Signal(
            label,
            min(by_label[label], 1.0),
            abstained=unsure,
            reasons=("not enough evidence",) if unsure else (),
            topics=tuple(self.topics.find(request.text)),
            polarity=by_label,
        )

    def _of_topic(self, request: SignalQuery) -> Signal:
        at, window = request.at or self._clock(), timedelta(hours=request.hours)
        mentions = self.mentions(request.topic, at - window - self._history, at)
        counts = counts_at(mentions, at, window=window, history=self._history)
        verdict = self._detector.judge(counts)
        return Signal(
            verdict.state,
            _confidence(verdict),
            evidence=tuple(_hit(mention) for mention in drivers(mentions, at, window=window)),
            abstained=verdict.state == "thin",
            reasons=(verdict.reason,),
            topics=(request.topic,),
            stories=counts.stories,
            negative=counts.negative,
            baseline=verdict.baseline,
        )


def _confidence(verdict: Verdict) -> float:
    """The probability that the word is right: above the baseline for a surge, not above it for calm."""
    return {"surge": verdict.probability, "calm": 1.0 - verdict.probability}.get(verdict.state, 0.0)


def check_moment(at: datetime) -> None:
    """Raise DataError for a time without a zone, or so far away that there is no time before or after it."""
    if at.tzinfo is None or at.year not in YEARS:
        found = "It has no time zone" if at.tzinfo is None else f"Years go from {YEARS[0]} to {YEARS[-1]}"
        raise DataError(f"The moment {at.isoformat()} cannot be used", found, 'at = "2026-04-19T20:00:00+00:00"')


def _hit(mention: MentionRow) -> Hit:
    return Hit(mention.article, mention.negative, title=mention.title, url=mention.url, label=mention.label)
