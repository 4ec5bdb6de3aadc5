import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from mercat.connect.base import Message, Receipt
from mercat.connect.response import RequestFailed
from mercat.errors import AddressRefused, ConnectError
from mercat.flow import Delivered, Patience, deliver
from mercat.store import Store

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(store_url: str, clock: Clock):
    with Store.open(store_url, clock=clock) as opened:
        yield opened


class Receiver:
    """Keeps the keys of what arrived. `faults` are raised, one per call, until they are used up."""

    def __init__(self, *faults: Exception | None) -> None:
        self.faults, self.arrived, self.attempts = list(faults), [], []

    def send(self, message: Message) -> Receipt:
        self.attempts.append((message.key, message.attempt))
        if self.faults and (fault := self.faults.pop(0)):
            raise fault
        self.arrived.append(message.key)
        return Receipt(external_id=f"x{message.id}", detail={"at": START})


def send(store: Store, *keys: str, order: str = "") -> None:
    with store.transaction() as tx:
        for key in keys:
            tx.send("desk", "ticket", {"text": key}, key=key, order=order)


def offline() -> ConnectError:
    return ConnectError("POST /tickets", "no answer", "wait")


def test_what_is_due_is_sent_and_its_receipt_kept(store: Store, clock: Clock) -> None:
    receiver = Receiver()
    send(store, *(f"k{n}" for n in range(25)))
    assert deliver(store, {"desk": receiver}, clock=clock) == Delivered(arrived=25)
    assert receiver.arrived == [f"k{n}" for n in range(25)]
    row = store.outbox("delivered")[0]
    assert (row.receipt["external_id"], row.finished_at) == ("x1", START)
    assert deliver(store, {"desk": receiver}, clock=clock) == Delivered()


def test_a_sink_that_is_offline_is_tried_later_and_later(store: Store, clock: Clock) -> None:
    receiver = Receiver(offline(), offline(), offline())
    send(store, "k")
    patience, waits = Patience(first_wait_s=10), []
    for _ in range(3):
        assert deliver(store, {"desk": receiver}, clock=clock, patience=patience) == Delivered(waiting=1)
        row = store.outbox()[0]
        waits.append((row.not_before - clock.now).total_seconds())
        clock.forward(waits[-1] - 0.001)
        assert deliver(store, {"desk": receiver}, clock=clock, patience=patience) == Delivered()
        clock.forward(0.002)
    assert deliver(store, {"desk": receiver}, clock=clock, patience=patience) == Delivered(arrived=1)
    assert [low <= wait <= 2 * low for wait, low in zip(waits, (5, 10, 20), strict=True)] == [True] * 3
    assert receiver.attempts == [("k", 1), ("k", 2), ("k", 3), ("k", 4)]


def test_waits_are_seeded_bounded_and_not_all_the_same() -> None:
    patience = Patience(first_wait_s=1, longest_wait_s=60, seed=3)
    assert patience.wait_s("a", 2) == Patience(first_wait_s=1, longest_wait_s=60, seed=3).wait_s("a", 2)
    assert len({patience.wait_s(f"key{n}", 4) for n in range(100)}) == 100
    assert all(30 <= patience.wait_s(f"key{n}", 40) <= 60 for n in range(100))
    days = sum(Patience().wait_s("k", n) for n in range(1, 18)) / 86400
    assert 0.5 < days < 3


def test_patience_ends_and_the_message_is_kept_with_its_cause(store: Store, clock: Clock) -> None:
    receiver = Receiver(*(offline() for _ in range(5)))
    send(store, "k")
    for _ in range(3):
        deliver(store, {"desk": receiver}, clock=clock, patience=Patience(attempts=3))
        clock.forward(3600)
    (dead,) = store.outbox("dead")
    assert dead.error == "POST /tickets. no answer. Try: wait (attempt 3, the last)"
    assert store.revive() == 1
    receiver.faults.clear()
    assert deliver(store, {"desk": receiver}, clock=clock) == Delivered(arrived=1)


@pytest.mark.parametrize(
    "fault",
    [ValueError("no such field"), AddressRefused("10.0.0.1", "private", "allow it"), RequestFailed("POST", status=422)],
)
def test_what_waiting_does_not_mend_is_dead_at_once(store: Store, clock: Clock, fault: Exception) -> None:
    send(store, "bad", "good")
    receiver = Receiver(fault)
    assert deliver(store, {"desk": receiver}, clock=clock) == Delivered(arrived=1, dead=1)
    assert [row.key for row in store.outbox("dead")] == ["bad"]
    assert receiver.arrived == ["good"]


def test_the_receiver_says_how_long_to_wait(store: Store, clock: Clock) -> None:
    send(store, "k")
    deliver(store, {"desk": Receiver(RequestFailed("POST", status=429, passing=True, retry_after_s=900))}, clock=clock)
    assert store.outbox()[0].not_before == START + timedelta(seconds=900)


def test_order_is_kept_over_faults(store: Store, clock: Clock) -> None:
    send(store, "1", "2", "3", order="talk")
    receiver = Receiver(None, offline())
    deliver(store, {"desk": receiver}, clock=clock)
    assert receiver.arrived == ["1"]
    clock.forward(3600)
    deliver(store, {"desk": receiver}, clock=clock)
    assert receiver.arrived == ["1", "2", "3"]


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


class Mortal:
    """Store and sink in one, that dies at the n-th step it is asked to make."""

    STEPS = ("lease", "leased", "send", "sent", "delivered", "noted")

    def __init__(self, store: Store, receiver: Receiver, step: str, at: int) -> None:
        self._store, self._receiver, self._step, self._left = store, receiver, step, at

    def _pass(self, step: str) -> None:
        if step == self._step:
            self._left -= 1
            if self._left == 0:
                raise Killed

    def lease(self, *args, **options):
        self._pass("lease")
        rows = self._store.lease(*args, **options)
        self._pass("leased")
        return rows

    def send(self, message: Message) -> Receipt:
        self._pass("send")
        receipt = self._receiver.send(message)
        self._pass("sent")
        return receipt

    def delivered(self, *args) -> None:
        self._pass("delivered")
        self._store.delivered(*args)
        self._pass("noted")


class Idempotent(Receiver):
    def send(self, message: Message) -> Receipt:
        if message.key in self.arrived:
            return Receipt(external_id="known")
        return super().send(message)


@pytest.mark.parametrize("step", Mortal.STEPS)
@pytest.mark.parametrize("receiver_type", [Receiver, Idempotent])
def test_killed_at_any_point_nothing_is_lost(store: Store, clock: Clock, step: str, receiver_type) -> None:
    keys = [f"k{n}" for n in range(12)]
    send(store, *keys)
    receiver, kills = receiver_type(), 0
    for at in (1, 2, 3):
        mortal = Mortal(store, receiver, step, at)
        try:
            deliver(mortal, {"desk": mortal}, clock=clock, limit=4)  # type: ignore[arg-type]
        except Killed:
            kills += 1
        clock.forward(301)
    deliver(store, {"desk": receiver}, clock=clock)
    counts = Counter(receiver.arrived)
    assert kills
    assert set(counts) == set(keys), "at least once"
    doubles = sum(counts.values()) - len(keys)
    assert doubles <= (0 if receiver_type is Idempotent else kills), "at most one double per kill"
    assert {row.state for row in store.outbox()} == {"delivered"}


def test_a_message_that_kills_its_sender_ends(store: Store, clock: Clock) -> None:
    send(store, "poison", "good")

    class Poisoned(Receiver):
        def send(self, message: Message) -> Receipt:
            if message.key == "poison":
                raise Killed
            return super().send(message)

    receiver = Poisoned()
    for _ in range(3):
        with pytest.raises(Killed):
            deliver(store, {"desk": receiver}, clock=clock, patience=Patience(attempts=3))
        clock.forward(301)
    assert deliver(store, {"desk": receiver}, clock=clock, patience=Patience(attempts=3)).dead == 1
    assert receiver.arrived == ["good"]


def test_a_lease_that_runs_low_is_left_to_others(store: Store, clock: Clock) -> None:
    class Slow(Receiver):
        def send(self, message: Message) -> Receipt:
            clock.forward(100)
            return super().send(message)

    send(store, *"abcdef")
    receiver = Slow()
    deliver(store, {"desk": receiver}, clock=clock, lease_s=300)
    clock.forward(300)
    deliver(store, {"desk": receiver}, clock=clock, lease_s=300)
    for _ in range(3):
        clock.forward(300)
        deliver(store, {"desk": receiver}, clock=clock, lease_s=300)
    assert sorted(receiver.arrived) == list("abcdef")


def test_several_senders_share_the_work_without_doubles(store: Store, clock: Clock) -> None:
    send(store, *(f"k{n}" for n in range(60)))
    receiver = Receiver()
    threads = [
        threading.Thread(target=deliver, args=(store, {"desk": receiver}), kwargs={"clock": clock, "limit": 5})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(receiver.arrived) == sorted(f"k{n}" for n in range(60))


def test_it_goes_on_until_it_is_stopped(store: Store, clock: Clock) -> None:
    stop, receiver = threading.Event(), Receiver()
    thread = threading.Thread(
        target=deliver,
        args=(store, {"desk": receiver}),
        kwargs={"clock": clock, "once": False, "poll_s": 0.01, "stop": stop},
    )
    thread.start()
    send(store, "late")
    for _ in range(500):
        if receiver.arrived:
            break
        stop.wait(0.01)
    stop.set()
    thread.join(5)
    assert receiver.arrived == ["late"]
    assert not thread.is_alive()
