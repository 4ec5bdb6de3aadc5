"""The task that watches: what is counted, once; what raises an alert, once; and what does not."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from small_news import DAY, HOUR, SURGE, article, burst, calm, follow, take_in
from small_news import open_monitor as open_folder

from mercat.flow import run_task
from mercat.workspace import Workspace
from mercat_financial_sentiment import tables
from mercat_financial_sentiment.tables import AlertRow, MentionRow


def mentions(workspace: Workspace, topic: str = "acme") -> list[MentionRow]:
    with workspace.store.transaction() as tx:
        found = list(tables.between(tx.session, "news", SURGE - 400 * DAY, SURGE + 400 * DAY, topic))
        tx.session.expunge_all()
    return found


def alerts(workspace: Workspace) -> list[AlertRow]:
    found: list[AlertRow] = workspace.get("services", "signals").alerts()
    return found


def outcome(workspace: Workspace) -> Any:
    """Return all that the monitor has written."""
    told = [(row.key, row.payload) for row in workspace.store.outbox()]
    rows = [row.model_dump() for topic in ("acme", "globex") for row in mentions(workspace, topic)]
    return rows, [row.model_dump() for row in alerts(workspace)], told, workspace.store.cursors()


def test_articles_are_counted_by_topic_and_polarity(either: Workspace) -> None:
    both = article("b", "negative", SURGE, title="Acme sues Globex")
    take_in(either, [article("a", "positive", SURGE), both, article("c", "neutral", SURGE, topic="Nobody")])
    assert {(m.article, m.topic, m.label) for t in ("acme", "globex") for m in mentions(either, t)} == {
        ("a", "acme", "positive"), ("b", "acme", "negative"), ("b", "globex", "negative"),
    }  # fmt: skip


def test_a_surge_alerts_once_with_its_articles_and_one_message(either: Workspace) -> None:
    take_in(either, [*calm(), *burst("negative", 14)])
    (alert,) = alerts(either)
    assert (alert.topic, alert.state) == ("acme", "firing")
    assert SURGE < alert.fired_at < SURGE + 3 * HOUR, "in event time, not when it was read"
    assert alert.p_value < 1e-4
    driving = [driver["article"] for driver in alert.drivers]
    assert len(driving) == 5
    assert all(name.startswith("Acme-s") for name in driving), "the articles of the surge, not of the weeks before"
    (message,) = either.store.outbox()
    assert (message.sink, message.kind, message.order) == ("pager", "alert", "acme")
    assert (message.payload["alert"], message.payload["drivers"]) == (alert.id, alert.drivers)
    run_task(either.get("tasks", "news"), either.store)
    assert len(either.store.outbox()) == 1


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("volume alone", [a for n in range(4) for a in burst(("positive", "neutral", "neutral", "negative")[n], 8, name=f"v{n}")]),
        ("one story told by many", burst("negative", 20, title="Acme recalls every product that it ever sold to anybody")),
        ("a positive surge", burst("positive", 25)),
        ("a few negative ones", burst("negative", 4)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_look_alikes_raise_no_alert(workspace: Workspace, name: str, extra: Any) -> None:
    take_in(workspace, [*calm(), *extra])
    assert alerts(workspace) == []
    assert workspace.store.outbox() == []
    assert len(mentions(workspace)) == 105 + len(extra), "they are counted all the same"


def test_a_topic_without_history_raises_no_alert(workspace: Workspace) -> None:
    take_in(workspace, burst("negative", 14))
    assert alerts(workspace) == []


def test_after_an_alert_the_topic_is_quiet_for_a_while_and_others_are_not(
    open_monitor: Callable[..., Workspace],
) -> None:
    news = [
        *calm(),
        *calm(topic="Globex"),
        *burst("negative", 14),
        *burst("negative", 14, at=SURGE + 8 * HOUR, name="t"),
    ]
    workspace = open_monitor(quiet_hours=24)
    take_in(workspace, [*news, *burst("negative", 14, at=SURGE + 8 * HOUR, topic="Globex")])
    assert sorted(alert.topic for alert in alerts(workspace)) == ["acme", "globex"]
    impatient = open_monitor(quiet_hours=6)
    take_in(impatient, news)
    assert len(alerts(impatient)) == 2
    restless = open_monitor(quiet_hours=0)
    take_in(restless, news)
    fired = [alert.fired_at for alert in alerts(restless)]
    assert len(fired) == len(set(fired)) > 2
    revised = [replace(one, text=f"{one.text} Revised.") for one in burst("negative", 14)]
    take_in(restless, revised)
    assert [alert.fired_at for alert in alerts(restless)] == fired, "told again at the same moment it is the same alert"


def test_when_it_is_calm_again_the_alert_is_resolved_and_says_so_once(workspace: Workspace) -> None:
    take_in(workspace, [*calm(), *burst("negative", 14)])
    for number in range(3):
        take_in(workspace, [article(f"after{number}", "positive", SURGE + (2 + number) * DAY)])
    (alert,) = alerts(workspace)
    assert (alert.state, alert.changed_at) == ("resolved", SURGE + 2 * DAY)
    assert [message.payload["state"] for message in workspace.store.outbox()] == ["firing", "resolved"]


def test_a_revised_article_replaces_its_mention(workspace: Workspace) -> None:
    take_in(workspace, [article("a", "negative", SURGE)])
    take_in(workspace, [article("a", "positive", SURGE, topic="Globex")])
    assert mentions(workspace) == []
    (mention,) = mentions(workspace, "globex")
    assert mention.label == "positive"


def test_a_deleted_article_disappears_and_a_copy_tells_its_story(workspace: Workspace) -> None:
    take_in(workspace, burst("negative", 3, title="Acme recalls every product that it ever sold to anybody"))
    assert [m.copy_of for m in mentions(workspace)] == ["", "Acme-s00", "Acme-s00"]
    with workspace.store.transaction() as tx:
        tx.delete("documents", ["Acme-s00"], collection="news")
    run_task(workspace.get("tasks", "news"), workspace.store)
    assert [(m.article, m.copy_of) for m in mentions(workspace)] == [("Acme-s01", ""), ("Acme-s02", "Acme-s01")]


def test_a_person_can_be_erased_from_the_news(workspace: Workspace) -> None:
    take_in(workspace, [article("a", "negative", SURGE, subject="jane"), article("b", "negative", SURGE + HOUR)])
    workspace.store.erase("jane")
    run_task(workspace.get("tasks", "news"), workspace.store)
    assert [m.article for m in mentions(workspace)] == ["b"]


def test_the_size_of_batches_makes_no_difference(open_monitor: Callable[..., Workspace]) -> None:
    one, two = open_monitor(), open_monitor()
    news = [*calm(), *burst("negative", 14), article("after", "positive", SURGE + 2 * DAY)]
    take_in(one, news)
    take_in(two, news, batch_size=4)
    assert outcome(one) == outcome(two)


def test_killed_again_and_again_it_counts_as_if_it_had_not_been(open_monitor: Callable[..., Workspace]) -> None:
    news = [*calm(), *burst("negative", 14), article("after", "positive", SURGE + timedelta(days=2))]
    whole, killed = open_monitor(), open_monitor()
    take_in(whole, news, batch_size=3)
    killed.store.upsert(news, collection="news")
    folder = Path(killed.config.folder)
    killed.close()
    fork, chance, kills, done = multiprocessing.get_context("fork"), random.Random(11), 0, False
    while not done:
        told, tell = fork.Pipe(duplex=False)
        process = fork.Process(target=follow, args=(folder, tell))
        process.start()
        tell.close()
        try:
            for _ in range(chance.randint(0, 2) if kills < 6 else 1000):
                done = told.recv() == "done" or done
            time.sleep(chance.random() * 0.012)  # at most six of the 40 steps a round
        except EOFError:
            pass
        kills += not done
        process.kill()
        process.join(20)
    assert kills >= 5
    with open_folder(folder) as again:
        assert outcome(again) == outcome(whole)
    assert len(alerts(whole)) == 1
