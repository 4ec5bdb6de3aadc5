"""`helpdesk/django-helpdesk` against a real django-helpdesk on loopback, with faults between the two."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mercat.connect import Message, Sink
from mercat.errors import AddressRefused, ConnectError
from mercat.testing.connect import LocalServer, Say, Seen, SinkContract
from mercat_connectors.helpdesk.django_helpdesk import DjangoHelpdesk, _mark

SERVE = Path(__file__).parent / "helpdesk_site" / "serve.py"
START_S = 150


@dataclass
class Site:
    """A running helpdesk and its database."""

    port: int
    database: Path

    def sink(self, *, port: int = 0, **options: Any) -> DjangoHelpdesk:
        host = f"localhost:{port or self.port}"
        given: dict[str, Any] = {"username": "agent", "password": "pass-w0rd", "queue": 1, "allow": [host]} | options
        return DjangoHelpdesk(f"http://{host}/helpdesk/", **given)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=20)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def tickets(self) -> Counter[str]:
        """Open tickets by their mark."""
        found = self.rows("select description from helpdesk_ticket where status <> 5")
        return Counter(description[description.find("[mercat:") :] for (description,) in found)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if not importlib.util.find_spec("helpdesk"):
        pytest.skip("django-helpdesk is not installed: pip install django-helpdesk==2.6.1")
    folder = tmp_path_factory.mktemp("helpdesk")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(SERVE), str(folder)], stdout=subprocess.PIPE, stderr=log, text=True
        )
    watchdog = threading.Timer(START_S, process.kill)
    watchdog.start()
    assert process.stdout is not None
    line = process.stdout.readline()
    watchdog.cancel()
    assert line, f"the helpdesk did not start: {(folder / 'log').read_text()[-2000:]}"
    yield Site(int(line), folder / "helpdesk.sqlite3")
    process.kill()
    process.wait()
    process.stdout.close()


def message(name: str, number: int, **payload: Any) -> Message:
    payload = {"title": f"Card lost {number}", "description": "customer: my card\nagent: one moment"} | payload
    return Message(number, f"hand-off/{name}/{number}", "ticket", payload)


class TestHelpdeskKeepsTheContract(SinkContract):
    @pytest.fixture(autouse=True)
    def _site(self, site: Site, request: pytest.FixtureRequest) -> None:
        self.site, self.name = site, request.node.name

    def make_sink(self) -> Sink:
        return self.site.sink()

    def make_message(self, number: int) -> Message:
        return message(self.name, number)

    def effects(self) -> int:
        return sum(self.site.tickets().values())


def test_what_stands_in_a_ticket(site: Site) -> None:
    sent = message(
        "fields", 1, intent="card_lost", confidence=0.4, customer="", transcript=[{"a": 1}], email="ann@example.org"
    )
    sent = replace(sent, payload={**sent.payload, "title": "Two\nlines " + "x" * 300})
    receipt = site.sink().send(sent)
    ((title, description, email, queue, priority),) = site.rows(
        "select title, description, submitter_email, queue_id, priority"
        f" from helpdesk_ticket where id = {int(receipt.external_id)}"
    )
    assert title == "Two lines " + "x" * 190
    mark = _mark(sent.key)
    assert description == f"customer: my card\nagent: one moment\n\nintent: card_lost\nconfidence: 0.4\n\n{mark}"
    assert (email, queue, priority) == ("ann@example.org", 1, 3)
    assert receipt.url == f"http://localhost:{site.port}/helpdesk/tickets/{receipt.external_id}/"


def test_follow_ups_are_added_once(site: Site) -> None:
    sink = site.sink()
    opened = sink.send(message("follow", 1))
    by_number = Message(2, "note/1", "followup", {"ticket": opened.external_id, "text": "The customer wrote again"})
    by_key = Message(3, "note/2", "followup", {"ticket_key": "hand-off/follow/1", "text": "And again", "public": True})
    receipts = [sink.send(m) for m in (by_number, by_number, by_key, replace(by_key, attempt=2))]
    assert receipts[0] == receipts[1] != receipts[2] == receipts[3]
    found = site.rows(
        f"select comment, public from helpdesk_followup where ticket_id = {opened.external_id} order by id"
    )[1:]
    assert [(comment.split("\n")[0], public) for comment, public in found] == [
        ("The customer wrote again", 0),
        ("And again", 1),
    ]


def test_a_follow_up_without_its_ticket_is_an_error(site: Site) -> None:
    with pytest.raises(ConnectError, match=r"not there \(yet\)"):
        site.sink().send(Message(1, "k", "followup", {"ticket_key": "hand-off/never/1", "text": "x"}))
    with pytest.raises(ConnectError, match="Status 404"):
        site.sink().send(Message(1, "k", "followup", {"ticket": "999999", "text": "x"}))


def test_look_up_goes_through_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mercat_connectors.helpdesk.django_helpdesk._PAGE_SIZE", 2)
    first = site.sink().send(message("pages", 0))
    for number in range(1, 6):
        site.sink().send(message("pages", number))
    again = site.sink().send(replace(message("pages", 0), attempt=2))
    assert again.external_id == first.external_id
    assert site.sink()._ticket_with(_mark(message("pages", 0).key), depth=2) is None


def test_wrong_account_queue_and_address(site: Site) -> None:
    with pytest.raises(ConnectError, match=r"Status 40[13].*Try: check the") as caught:
        site.sink(password="wr0ng-s3cret").send(message("wrong", 1))
    assert "wr0ng" not in str(caught.value) + repr(site.sink(password="wr0ng-s3cret"))
    with pytest.raises(ConnectError, match=r"Status 400.*queue"):
        site.sink(queue=99).send(message("wrong", 1))
    with pytest.raises(AddressRefused):
        site.sink(allow=[]).send(message("wrong", 1))


FAULTS = ("none", "500 after", "hang after", "hang up after", "500 before", "503 before", "late", "hang up before")
TIMEOUT_S = 1.0


class Between:
    """Passes requests on to the helpdesk, and spoils some POSTs and look-ups in every way that a network can."""

    def __init__(self, port: int) -> None:
        self._port, self._lock = port, threading.Lock()
        self.posts = self.gets = 0
        self.late: list[threading.Thread] = []

    def __call__(self, seen: Seen) -> Say:
        with self._lock:
            self.posts += seen.method == "POST"
            self.gets += seen.method == "GET"
            fault = FAULTS[self.posts % len(FAULTS)] if seen.method == "POST" else "none"
            if seen.method == "GET" and self.gets % 9 == 0:
                fault = "500 before"
        if fault == "late":  # the helpdesk is slow and commits when the sender has long given up
            self.late.append(threading.Timer(TIMEOUT_S + 0.3, self._pass_on, [seen]))
            self.late[-1].start()
            time.sleep(TIMEOUT_S + 0.2)
            return Say(hang_up=True)
        if fault.endswith("before"):
            return Say(hang_up=True) if fault.startswith("hang") else Say(int(fault[:3]))
        answer = self._pass_on(seen)
        if fault == "hang after":
            time.sleep(TIMEOUT_S + 0.2)
        if fault == "500 after":
            return Say(500, body=b"oops")
        return Say(hang_up=True) if fault.startswith("hang") else answer

    def _pass_on(self, seen: Seen) -> Say:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        kept = {name: value for name, value in seen.headers.items() if name in ("authorization", "content-type")}
        connection.request(seen.method, seen.path, seen.body, kept)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return Say(answer.status, body, {"content-type": "application/json"})


def deliver(sink: Sink, messages: list[Message], *, rounds: int = 12) -> dict[str, str]:
    """Deliver as `flow` does: again with the next attempt until there is a receipt; three at a time."""
    receipts: dict[str, str] = {}

    def send(sent: Message) -> None:
        with contextlib.suppress(ConnectError):
            receipts[sent.key] = sink.send(sent).external_id

    for attempt in range(1, rounds + 1):
        rest = [replace(sent, attempt=attempt) for sent in messages if sent.key not in receipts]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(send, rest))
    return receipts


def test_faults_lose_and_double_no_ticket(site: Site) -> None:
    messages = [message("faults", number) for number in range(32)]
    between = Between(site.port)
    with LocalServer(between) as server:
        sink = site.sink(port=server.port, timeout_s=TIMEOUT_S, settle_s=1.0)
        receipts = deliver(sink, messages)
        for late in between.late:
            late.join()
        sink.close()
    tickets = site.tickets()
    counts = [tickets[_mark(sent.key)] for sent in messages]
    assert len(receipts) == len(messages)
    assert len(set(receipts.values())) == len(messages)
    assert counts == [1] * len(messages)
    assert between.posts >= len(messages) * 5 // 4  # the faults were really there
    print(f"helpdesk: {len(messages)} tickets, {between.posts} POSTs with faults, 0 lost, 0 doubled")


def _send_rest(site: Site, done: Path, messages: list[Message], attempt: int) -> None:
    sink = site.sink()
    for sent in messages:
        receipt = sink.send(replace(sent, attempt=attempt))
        with done.open("a") as file:  # the receipt, as the store would keep it
            file.write(f"{sent.key} {receipt.external_id}\n")


def test_a_killed_sender_loses_and_doubles_no_ticket(site: Site, tmp_path: Path) -> None:
    messages = [message("kills", number) for number in range(12)]
    done = tmp_path / "done"
    done.touch()
    context = multiprocessing.get_context("fork")
    kills = 0
    for attempt in range(1, 60):
        known = {line.split()[0] for line in done.read_text().splitlines()}
        rest = [sent for sent in messages if sent.key not in known]
        if not rest:
            break
        worker = context.Process(target=_send_rest, args=(site, done, rest, attempt))
        worker.start()
        give_up = time.monotonic() + 30  # let it get somewhere, then kill it somewhere in the next message
        while worker.is_alive() and len(done.read_text().splitlines()) == len(known) and time.monotonic() < give_up:
            time.sleep(0.005)
        worker.join(0.03 * (attempt % 7))
        if worker.exitcode is None:
            os.kill(worker.pid or 0, signal.SIGKILL)
            kills += 1
        worker.join()
    tickets = site.tickets()
    assert [tickets[_mark(sent.key)] for sent in messages] == [1] * len(messages)
    assert kills >= 2
    print(f"helpdesk: {len(messages)} tickets, {kills} kills of the sender, 0 lost, 0 doubled")


def test_an_earlier_attempt_that_arrives_too_late_is_merged(site: Site) -> None:
    sent = message("twin", 1)
    first = site.sink().send(sent)
    sink = site.sink()
    seeing, looks = sink._ticket_with, []

    def first_blind(mark: str, *, depth: int) -> int | None:
        looks.append(mark)
        return None if len(looks) == 1 else seeing(mark, depth=depth)

    sink._ticket_with = first_blind  # type: ignore[method-assign]
    again = sink.send(replace(sent, attempt=2))
    assert again.external_id == first.external_id
    mark = _mark(sent.key)
    found = site.rows(
        f"select id, status, merged_to_id from helpdesk_ticket where description like '%{mark}' order by id"
    )
    assert [(status, merged) for _, status, merged in found] == [(1, None), (5, int(first.external_id))]
