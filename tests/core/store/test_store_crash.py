"""What was acknowledged survives a kill; what was not is all or nothing."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event

from mercat.errors import StoreError
from mercat.store import Store
from mercat.values import Document, Example

BATCH = 20
# Imports once, then forks a writer for every line "from url": cheaper than a new interpreter for each kill.
NURSERY = f"""
import os, sys
from mercat.store import Store
from mercat.values import Document

def write(who, url, limit):
    store = Store.open(url)
    n = int(store.cursor(who) or 0)
    for n in range(n + 1, n + 1 + limit):
        with store.transaction() as tx:
            tx.upsert([Document(f"{{who}}-{{n}}-{{i}}", "text " * 50) for i in range({BATCH})], collection=who)
            tx.send("desk", "ticket", {{"n": n}}, key=f"{{who}}-{{n}}")
            tx.save_cursor(who, str(n))
        print("ack", who, n, flush=True)

for line in sys.stdin:
    who, limit, url = line.split()
    if (pid := os.fork()) == 0:
        try:
            write(who, url, int(limit))
            print("end", who, "well", flush=True)
        except BaseException as error:
            print("end", who, type(error).__name__, str(error).replace("\\n", " "), flush=True)
        finally:
            os._exit(0)
    print("pid", who, pid, flush=True)
"""


class Nursery:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", NURSERY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def start(self, who: str, url: str, limit: int = 100_000) -> None:
        print(who, limit, url, file=self.process.stdin, flush=True)

    def read(self) -> list[str]:
        return self.process.stdout.readline().strip().split(maxsplit=2)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.process.stdin.close()
    made.process.wait(10)
    made.process.stdout.close()


def test_ten_kills_lose_and_double_nothing(store_url: str, nursery: Nursery) -> None:
    chance, acknowledged = random.Random(7), 0
    for kill in range(10):
        nursery.start("w", store_url)
        said, pid = nursery.read(), 0
        enough = acknowledged + chance.randint(1, 12)
        while True:
            if said[0] == "pid":
                pid = int(said[2])
            elif said[0] == "ack":
                acknowledged = int(said[2])
            else:
                pytest.fail(f"the writer ended by itself: {said}")
            if pid and acknowledged >= enough:
                break
            said = nursery.read()
        time.sleep(chance.random() * 0.01)
        os.kill(pid, signal.SIGKILL)
        acknowledged = max(acknowledged, _rest(nursery, store_url))
        _check(store_url, acknowledged, f"kill {kill}")


def _rest(nursery: Nursery, url: str) -> int:
    """Read what the dead writer had still said: ask for a short one after it, and read up to its end."""
    nursery.start("mark", url, limit=0)
    last = 0
    while (said := nursery.read())[0] != "end":
        if said[:2] == ["ack", "w"]:
            last = int(said[2])
    assert said == ["end", "mark", "well"]
    return last


def _check(url: str, acknowledged: int, when: str) -> None:
    with Store.open(url) as store:
        done = int(store.cursor("w") or 0)
        assert done >= acknowledged, f"{when}: acknowledged and lost"
        assert store.count("documents", "w") == done * BATCH, f"{when}: half a batch"
        assert len(store.outbox(limit=100_000)) == done, f"{when}: a message lost or doubled"
        assert store.last_sequence("documents", "w") == done * BATCH, f"{when}: a row written twice"
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], when


def test_threads_and_processes_write_side_by_side(store: Store, store_url: str, nursery: Nursery) -> None:
    for number in range(3):
        nursery.start(f"p{number}", store_url, limit=15)

    def write(number: int) -> None:
        for n in range(15):
            store.upsert([Example(f"{number}-{n}-{i}", "t", "l") for i in range(BATCH)], collection=f"t{number}")
            assert store.count("examples", f"t{number}") == (n + 1) * BATCH, "who wrote reads it back"

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    ends = []
    while len(ends) < 3:
        if (said := nursery.read())[0] == "end":
            ends.append(said[2])
    assert ends == ["well"] * 3
    collections = store.collections()
    assert [rows for *_, rows in collections] == [15 * BATCH] * 7
    seen = [change.sequence for kind, name, _ in collections for change in store.changes(kind, name, after=0)]
    assert sorted(seen) == list(range(1, 7 * 15 * BATCH + 1)), "every change has a number of its own"


def test_followers_miss_nothing_while_others_write(store: Store) -> None:
    """A change is never seen with a number below one that was seen before: or a cursor would jump over it."""
    stop, seen, after = threading.Event(), [], 0

    def write(number: int) -> None:
        for n in range(30):
            store.upsert([Document(f"{number}-{n}", "t")], collection="c")

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(write, number) for number in range(4)]
        while not stop.is_set():
            if all(job.done() for job in jobs):
                stop.set()
            for change in store.changes("documents", "c", after=after):
                seen.append(change.id)
                after = change.sequence
        for job in jobs:
            job.result()
    assert len(seen) == len(set(seen)) == 120


@pytest.fixture
def small(tmp_path) -> Iterator[Store]:
    """An SQLite store on a disk that is nearly full."""
    with Store.open(f"sqlite:///{tmp_path / 'small.db'}") as store:
        store.upgrade()

        @event.listens_for(store._database.engine, "connect")
        def limit(connection, _) -> None:
            connection.execute("PRAGMA max_page_count = 90")

        yield store


def test_a_full_disk_is_told_and_loses_nothing_acknowledged(small: Store) -> None:
    acknowledged: list[str] = []
    with pytest.raises(
        StoreError, match=r"Nothing was written to the store\. The disk is full .* Try: free some space"
    ):
        for n in range(1000):
            acknowledged += small.upsert([Document(f"{n}", "x" * 3000)], collection="c", cursor=("s", str(n))).changed
    assert 3 < len(acknowledged) < 200
    assert [row.id for row in small.rows("documents", "c")] == sorted(acknowledged)
    assert small.cursor("s") == acknowledged[-1]
    with small._database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    event.listen(
        small._database.engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 9000")
    )
    small._database.engine.dispose()
    assert small.upsert([Document("after", "x" * 3000)], collection="c").changed == ["after"]


def test_a_writer_that_never_ends_is_told(tmp_path) -> None:
    path = tmp_path / "mercat.db"
    with Store.open(f"sqlite:///{path}", wait_s=0.1) as store, contextlib.closing(sqlite3.connect(path)) as other:
        store.upgrade()
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="Another writer holds it"):
            store.upsert([Document("a", "t")], collection="c")
        assert store.count("documents", "c") == 0, "readers are not kept waiting"
        other.rollback()
        assert store.upsert([Document("a", "t")], collection="c").changed == ["a"]


def test_a_thread_that_waits_too_long_is_told(tmp_path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'mercat.db'}", wait_s=0.1) as store, ThreadPoolExecutor(1) as pool:
        store.upgrade()
        with store.transaction():
            waiting = pool.submit(store.upsert, [Document("a", "t")], collection="c")
            with pytest.raises(StoreError, match="Another writer holds it"):
                waiting.result()


def test_what_is_no_database_is_told(tmp_path) -> None:
    (tmp_path / "mercat.db").write_bytes(b"not a database at all, " * 100)
    with pytest.raises(StoreError, match="damaged or no database"):
        Store.open(f"sqlite:///{tmp_path / 'mercat.db'}").count("documents", "c")


def test_a_server_that_does_not_answer_is_told_without_its_password() -> None:
    pytest.importorskip("psycopg")
    store = Store.open("postgresql://me:secret@127.0.0.1:1/nothing")
    with pytest.raises(StoreError, match="does not answer") as caught:
        store.count("documents", "c")
    assert "secret" not in f"{caught.value} {store!r} {store.url}"


@pytest.mark.parametrize("url", ["mysql://x@y/z", "nonsense", "sqlite://", "sqlite:///:memory:"])
def test_urls_that_cannot_be_are_refused_at_once(url: str) -> None:
    with pytest.raises(StoreError, match=r"sqlite:////folder/mercat\.db"):
        Store.open(url)


def test_a_commit_is_synced_to_the_disk(store: Store) -> None:
    with store._database.writing() as connection:
        asked = "PRAGMA synchronous" if store._database.is_sqlite else "SHOW synchronous_commit"
        assert connection.exec_driver_sql(asked).scalar() in (2, "on")
        if store._database.is_sqlite:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
