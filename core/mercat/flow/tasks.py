"""Work that follows the store: each task sees every change once, in order, with a cursor of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from mercat.flow.ingest import silent
from mercat.store import Change, Store, Transaction
from mercat.training.base import Progress


@runtime_checkable
class Task(Protocol):
    """What is to be done with rows that changed: encode, score, count, detect.

    `prepare` does the slow part and writes nothing; `commit` writes what it made, in the transaction that moves the
    task's cursor. Deleted rows are among the changes (`row` is None).
    """

    name: str
    kind: str  # "documents", "passages", "examples" or "interactions"
    collection: str

    def prepare(self, changes: Sequence[Change]) -> Any:
        """Do the slow part for changes in the order of the store, and return what `commit` is to write."""
        ...

    def commit(self, prepared: Any, tx: Transaction) -> None:
        """Write what `prepare` returned, in the transaction that moves the cursor."""
        ...


@dataclass(frozen=True, slots=True)
class TaskRun:
    """What a run of a task did: changes done, the number it stands at, batches that another runner had done first."""

    name: str
    done: int
    sequence: int
    overtaken: int = 0


def task_cursor(name: str) -> str:
    """Return the name under which a task's cursor is kept."""
    return f"task:{name}"


def run_task(task: Task, store: Store, *, progress: Progress = silent, batch_size: int = 500) -> TaskRun:
    """Bring a task up to date. Two runners at once do every change once: who comes second throws its batch away."""
    name, done, overtaken = task_cursor(task.name), 0, 0
    last = store.last_sequence(task.kind, task.collection)
    while True:
        expected = store.cursor(name)
        at = int(expected or 0)
        changes = store.changes(task.kind, task.collection, after=at, limit=batch_size)
        if not changes:
            return TaskRun(task.name, done, at, overtaken)
        prepared = task.prepare(changes)
        with store.transaction() as tx:
            first = tx.cursor(name) == expected
            if first:
                task.commit(prepared, tx)
                tx.save_cursor(name, str(changes[-1].sequence))
        done, overtaken = done + len(changes) * first, overtaken + (not first)
        progress(f"task {task.name}", changes[-1].sequence, max(last, changes[-1].sequence))
