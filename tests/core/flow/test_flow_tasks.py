import threading

import pytest

from mercat.flow import Task, run_task
from mercat.store import Change, Store, Transaction
from mercat.values import Document


class Count:
    """Counts the characters of a collection into an outbox entry per change: a double would show."""

    name, kind, collection = "count", "documents", "c"

    def __init__(self, before_commit=lambda: None) -> None:
        self.seen: list[str] = []
        self.before_commit = before_commit

    def prepare(self, changes):
        return [(change.id, change.sequence, len(change.row.text) if change.row else None) for change in changes]

    def commit(self, prepared, tx: Transaction) -> None:
        for each, sequence, length in prepared:
            number = tx.send("log", "count", {"length": length}, key=f"{each}:{sequence}")
            self.seen.append(f"{each}:{length}:{number}")


def fill(store: Store, *ids: str, text: str = "text") -> None:
    store.upsert([Document(each, text) for each in ids], collection="c")


def test_a_task_sees_every_change_once_in_order_deletions_too(store: Store) -> None:
    task = Count()
    assert isinstance(task, Task)
    fill(store, "a", "b", "c")
    assert run_task(task, store, batch_size=2).done == 3
    assert run_task(task, store).done == 0
    fill(store, "b", text="longer")
    with store.transaction() as tx:
        tx.delete("documents", ["a"], collection="c")
    run = run_task(task, store)
    assert (run.done, run.sequence) == (2, 5)
    assert [each.rpartition(":")[0] for each in task.seen] == ["a:4", "b:4", "c:4", "b:6", "a:None"]


def test_a_task_that_fails_does_nothing_and_is_tried_again(store: Store) -> None:
    class Failing(Count):
        def commit(self, prepared, tx):
            super().commit(prepared, tx)
            raise ValueError("half-way")

    fill(store, "a", "b")
    with pytest.raises(ValueError, match="half-way"):
        run_task(Failing(), store)
    assert store.outbox() == []
    assert run_task(Count(), store).done == 2
    assert len(store.outbox()) == 2


def test_who_is_overtaken_throws_its_batch_away(store: Store) -> None:
    fill(store, "a", "b", "c", "d")

    class Overtaken(Count):
        def prepare(self, changes):
            if not self.seen and not store.cursor("task:count"):
                run_task(Count(), store, batch_size=2)
            return super().prepare(changes)

    run = run_task(Overtaken(), store, batch_size=2)
    assert (run.done, run.overtaken) == (0, 1)
    assert len(store.outbox()) == 4


def test_four_runners_at_once_do_every_change_once(store: Store) -> None:
    fill(store, *(f"{n:03}" for n in range(120)))
    tasks, failures = [Count() for _ in range(4)], []

    def work(task: Count) -> None:
        try:
            run_task(task, store, batch_size=7)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    seen = [each.partition(":")[0] for task in tasks for each in task.seen]
    assert sorted(seen) == [f"{n:03}" for n in range(120)]


def test_prepare_holds_nobody_up(store: Store) -> None:
    class Writing(Count):
        def prepare(self, changes):
            store.upsert([Document("x", "written meanwhile")], collection="elsewhere")
            return super().prepare(changes)

    fill(store, "a")
    assert run_task(Writing(), store).done == 1
    assert store.changes("documents", "elsewhere", after=0) == [Change(2, "x", Document("x", "written meanwhile"))]
