"""What every transform and every task keeps. Inherit, and say how yours is made."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mercat.flow.tasks import Task, run_task, task_cursor
from mercat.flow.transforms import Transform
from mercat.store import Change, Store, Transaction
from mercat.testing.contract import Contract
from mercat.values import Document, Example, Interaction, Passage, Row

KINDS = ("documents", "passages", "examples", "interactions")


class TransformContract(Contract):
    """What every transform keeps. Inherit, and give `make_transform` and `make_examples`."""

    @abstractmethod
    def make_transform(self) -> Transform:
        """Return a new transform."""

    @abstractmethod
    def make_examples(self) -> Sequence[tuple[Row, Row | None]]:
        """Return rows with what becomes of each (None: it is dropped); at least one that does not stay as it is."""

    def test_it_is_a_transform(self) -> None:
        assert isinstance(self.make_transform(), Transform)

    def test_the_examples_become_what_they_should(self) -> None:
        transform, examples = self.make_transform(), self.make_examples()
        assert [transform(row) for row, _ in examples] == [wanted for _, wanted in examples]
        assert any(row != wanted for row, wanted in examples), "give an example that does not stay as it is"

    def test_the_row_that_is_given_stays_as_it_is(self) -> None:
        for row, _ in self.make_examples():
            before = copy.deepcopy(row)
            self.make_transform()(row)
            assert row == before

    def test_a_row_keeps_its_type_and_its_id(self) -> None:
        """The store knows a row that comes again by both."""
        for row, _ in self.make_examples():
            if (found := self.make_transform()(row)) is not None:
                assert (type(found), found.id) == (type(row), row.id)

    def test_a_row_becomes_the_same_alone_and_after_others(self) -> None:
        """A source is read again after a kill: a row that became another then would count as changed."""
        transform, rows = self.make_transform(), [row for row, _ in self.make_examples()]
        alone = [self.make_transform()(row) for row in rows]
        assert [transform(row) for row in reversed(rows)] == alone[::-1]

    def test_every_type_of_row_is_taken(self) -> None:
        """What a transform raises on is rejected: it passes on the types that it does not know."""
        for row in (
            Document("d", "a text"),
            Passage("p", "d", "a text"),
            Example("e", "a text", "label"),
            Interaction("i", "somebody", "something", "view", datetime(2026, 1, 1, tzinfo=UTC)),
        ):
            self.make_transform()(row)


class TaskContract(Contract):
    """What every task keeps. Inherit, and give `make_task`, `make_rows` and `effects`.

    A task that needs tables of its plugin, or a workspace, overrides `new_store`.
    """

    @abstractmethod
    def make_task(self, store: Store) -> Task:
        """Return a new task that works on this store."""

    @abstractmethod
    def make_rows(self) -> Sequence[Row]:
        """Return five rows or more of the task's kind that give it something to write."""

    @abstractmethod
    def effects(self, store: Store) -> Any:
        """Return all that the task has written, as data to compare: no numbers that count up, no times of now."""

    def new_store(self, folder: Path) -> Store:
        """Return an empty store in `folder`."""
        return Store.open(f"sqlite:///{folder / 'contract.db'}")

    @pytest.fixture
    def filled(self, tmp_path: Path) -> Iterator[Store]:
        """A store in which the rows wait."""
        with self._filled(tmp_path) as store:
            yield store

    def test_it_is_a_task(self, filled: Store) -> None:
        task = self.make_task(filled)
        assert isinstance(task, Task)
        assert task.kind in KINDS
        assert task.name
        assert task.collection

    def test_preparing_writes_nothing(self, filled: Store) -> None:
        task, before = self.make_task(filled), self.effects(filled)
        task.prepare(filled.changes(task.kind, task.collection, after=0))
        assert self.effects(filled) == before

    def test_every_change_is_done_once(self, filled: Store) -> None:
        before, rows = self.effects(filled), len(self.make_rows())
        assert run_task(self.make_task(filled), filled).done == rows
        done = self.effects(filled)
        assert done != before, "give it rows that make it write something"
        assert run_task(self.make_task(filled), filled).done == 0
        assert self.effects(filled) == done

    def test_small_batches_do_what_one_batch_does(self, filled: Store, tmp_path: Path) -> None:
        run_task(self.make_task(filled), filled)
        (folder := tmp_path / "small").mkdir()
        with self._filled(folder) as small:
            run_task(self.make_task(small), small, batch_size=2)
            assert self.effects(small) == self.effects(filled)

    def test_what_breaks_off_between_two_batches_is_made_good(self, filled: Store, tmp_path: Path) -> None:
        (folder := tmp_path / "whole").mkdir()
        with self._filled(folder) as whole:
            run_task(self.make_task(whole), whole, batch_size=2)
            undisturbed = self.effects(whole)
        with pytest.raises(_Broken):
            run_task(_Breaking(self.make_task(filled), commits=1), filled, batch_size=2)
        run_task(self.make_task(filled), filled, batch_size=2)
        assert self.effects(filled) == undisturbed

    def test_a_commit_that_breaks_off_writes_nothing(self, filled: Store) -> None:
        task, before = self.make_task(filled), self.effects(filled)
        with pytest.raises(_Broken):
            run_task(_Breaking(task, commits=0), filled)
        assert self.effects(filled) == before
        assert filled.cursor(task_cursor(task.name)) is None

    def test_deleted_rows_are_taken_too(self, filled: Store) -> None:
        task, ids = self.make_task(filled), [row.id for row in self.make_rows()]
        run_task(task, filled)
        with filled.transaction() as tx:
            tx.delete(task.kind, ids, collection=task.collection)
        assert run_task(task, filled).done == len(ids)

    def _filled(self, folder: Path) -> Store:
        store = self.new_store(folder)
        store.upsert(list(self.make_rows()), collection=self.make_task(store).collection)
        return store


class _Broken(Exception):
    pass


class _Breaking:
    """A task whose transaction breaks off, after it has written, once `commits` of them were made."""

    def __init__(self, task: Task, *, commits: int) -> None:
        self.name, self.kind, self.collection = task.name, task.kind, task.collection
        self._task, self._commits = task, commits

    def prepare(self, changes: Sequence[Change]) -> Any:
        return self._task.prepare(changes)

    def commit(self, prepared: Any, tx: Transaction) -> None:
        self._task.commit(prepared, tx)
        self._commits -= 1
        if self._commits < 0:
            raise _Broken
