import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from mercat.connect.base import Batch, Message, Receipt
from mercat.errors import ConnectError
from mercat.flow import Delivered, Feed, Follow
from mercat.store import Store, Transaction
from mercat.values import Document


class Ticking:
    """A source with one new row every time it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def read(self, cursor: str | None) -> Iterator[Batch]:
        self.asked += 1
        yield Batch([Document(f"{self.asked}", "text")], str(self.asked))


class Broken:
    def read(self, cursor: str | None) -> Iterator[Batch]:
        raise ConnectError("GET /feed", "no answer", "wait")
        yield


class Announce:
    name, kind, collection = "announce", "documents", "news"

    def prepare(self, changes):
        return [change.id for change in changes]

    def commit(self, prepared, tx: Transaction) -> None:
        for each in prepared:
            tx.send("log", "new", {"id": each}, key=each)


class Log:
    def __init__(self) -> None:
        self.keys = []

    def send(self, message: Message) -> Receipt:
        self.keys.append(message.key)
        return Receipt()


def test_a_round_reads_works_refreshes_and_delivers(store: Store) -> None:
    now, log, refreshed = [datetime(2026, 1, 1, tzinfo=UTC)], Log(), []
    source = Ticking()
    follow = Follow(
        store,
        feeds=[Feed("broken", Broken(), "news"), Feed("ticking", source, "news", every_s=60)],
        tasks=[Announce()],
        sinks={"log": log},
        refresh={"news": lambda: refreshed.append(1)},
        clock=lambda: now[0],
    )
    now[0] = datetime.now(UTC) + timedelta(days=1)  # the store's own clock says when a message is due
    first = follow.round()
    assert [account.stored for account in first.accounts] == [1]
    assert first.problems == [("source broken", "GET /feed. no answer. Try: wait")]
    assert first.delivered == Delivered(arrived=1)
    assert (log.keys, len(refreshed)) == (["1"], 1)
    assert follow.round().accounts == [], "nobody is asked before it is due"
    now[0] += timedelta(seconds=60)
    assert len(follow.round().accounts) == 1
    assert (source.asked, log.keys, len(refreshed)) == (2, ["1", "2"], 2)


def test_the_loop_ends_when_it_is_told(store: Store) -> None:
    stop, rounds = threading.Event(), []

    def tell(round_) -> None:
        rounds.append(round_)
        if len(rounds) == 3:
            stop.set()

    Follow(store, clock=lambda: datetime.now(UTC), tell=tell).run(stop, pause_s=0.001)
    assert len(rounds) == 3
