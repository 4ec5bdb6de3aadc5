from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from small_news import DAY, HOUR, NOW, SURGE, article, burst, calm, take_in

from mercat.errors import DataError, UnknownName
from mercat.testing import ServiceContract
from mercat.workspace import Workspace
from mercat_financial_sentiment.trends import by_day
from mercat_financial_sentiment.values import Signal, SignalQuery


class TestContract(ServiceContract):
    requests = (
        SignalQuery(id="1", text="Acme: a heavy loss and a lawsuit"),
        SignalQuery(id="2", topic="acme", at=SURGE + 5 * HOUR),
        SignalQuery(id="3", text="Globex: record profit and growth"),
    )

    @pytest.fixture(autouse=True)
    def news(self, open_monitor: Callable[..., Workspace]) -> None:
        workspace = open_monitor()
        take_in(workspace, [*calm(), *burst("negative", 14)])
        self.service_of = workspace

    def make(self) -> Any:
        return self.service_of.build(self.service_of.config.section("services", "signals"))


@pytest.fixture
def full(workspace: Workspace) -> Workspace:
    take_in(workspace, [*calm(), *burst("negative", 14), article("after", "positive", SURGE + 2 * DAY)])
    return workspace


def ask(workspace: Workspace, **fields: Any) -> Signal:
    signal: Signal = workspace.ask("signals", **fields)
    return signal


def test_a_text_has_a_polarity_and_topics(full: Workspace) -> None:
    signal = ask(full, text="Acme: a heavy loss and a lawsuit")
    assert (signal.value, list(signal.topics)) == ("negative", ["acme"])
    assert signal.confidence == pytest.approx(max(signal.polarity.values()), abs=1e-6)
    assert sum(signal.polarity.values()) == pytest.approx(1, abs=1e-5)


def test_a_question_as_of_a_moment_does_not_see_what_came_later(full: Workspace) -> None:
    before, during = ask(full, topic="acme", at=SURGE - HOUR), ask(full, topic="acme", at=SURGE + 5 * HOUR)
    assert (before.value, before.negative) == ("calm", 0)
    assert (during.value, during.negative, during.abstained) == ("surge", 14, False)
    assert {hit.id for hit in during.evidence} <= {f"Acme-s{n:02d}" for n in range(14)}
    later = [article("late", "negative", SURGE + 6 * HOUR), *burst("negative", 9, at=SURGE + 7 * HOUR, name="z")]
    take_in(full, later)
    assert ask(full, topic="acme", at=SURGE - HOUR) == before
    assert ask(full, topic="acme", at=SURGE + 5 * HOUR) == during


def test_too_little_history_abstains_and_says_so(workspace: Workspace) -> None:
    take_in(workspace, burst("negative", 14))
    signal = ask(workspace, topic="acme", at=SURGE + 5 * HOUR)
    assert (signal.value, signal.abstained) == ("thin", True)
    assert "stories of history" in signal.reasons[0]


def test_without_a_moment_it_is_now(full: Workspace) -> None:
    assert ask(full, topic="acme").stories == 0
    assert full.get("services", "signals").now() == NOW


@pytest.mark.parametrize("fields", [{}, {"text": "Acme", "topic": "acme"}, {"text": "  "}])
def test_a_question_has_either_a_text_or_a_topic(full: Workspace, fields: dict[str, str]) -> None:
    with pytest.raises(DataError, match="a text or with a topic"):
        ask(full, **fields)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"hours": 0}, "It takes 1 to"),
        ({"hours": 10**12}, "It takes 1 to"),
        ({"at": datetime(1, 1, 1, tzinfo=UTC)}, "Years go from 1900"),
        ({"at": datetime(2026, 1, 1)}, "no time zone"),
    ],
)
def test_a_time_that_cannot_be_used_is_refused(full: Workspace, fields: dict[str, Any], found: str) -> None:
    with pytest.raises(DataError, match=found):
        ask(full, topic="acme", **fields)


def test_an_unknown_topic_is_named_with_the_nearest(full: Workspace) -> None:
    with pytest.raises(UnknownName, match="acme"):
        ask(full, topic="acmee")


def test_an_alert_is_acknowledged_once_and_stays_so_until_it_is_resolved(full: Workspace) -> None:
    service = full.get("services", "signals")
    (alert,) = service.alerts()
    assert alert.state == "resolved"
    service.acknowledge(alert.id, by="ana")
    assert service.alerts()[0].acknowledged_by == "", "there is nothing left to acknowledge"
    take_in(full, burst("negative", 14, at=SURGE + 4 * DAY, name="again"))
    firing = service.alerts()[0]
    service.acknowledge(firing.id, by="ana")
    service.acknowledge(firing.id, by="bert")
    assert (service.alerts()[0].state, service.alerts()[0].acknowledged_by) == ("acknowledged", "ana")
    with pytest.raises(UnknownName):
        service.acknowledge("nothing", by="ana")


def test_days_without_stories_are_days_too(full: Workspace) -> None:
    mentions = full.get("services", "signals").mentions("acme", SURGE - 2 * DAY, SURGE + 3 * DAY)
    days = by_day(mentions)
    assert [day.day.day for day in days] == [4, 5, 6, 7, 8]
    assert [(day.negative, day.copies) for day in days][2:] == [(14, 0), (0, 0), (0, 0)]
    assert by_day([]) == []
