"""The core's own transforms, and a small task, keep the contracts that plugin authors inherit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from mercat.flow.tasks import Task
from mercat.flow.transforms import Transform, language, redact
from mercat.store import Change, Store, Transaction
from mercat.testing import TaskContract, TransformContract
from mercat.values import Document, Example, Interaction, Row

AT = datetime(2026, 1, 1, tzinfo=UTC)


class TestRedactKeepsTheContract(TransformContract):
    def make_transform(self) -> Transform:
        return redact()

    def make_examples(self) -> Sequence[tuple[Row, Row | None]]:
        plain = Example("e", "nothing of a person", "x")
        return [
            (Document("a", "write to ann@example.com"), Document("a", "write to [EMAIL]")),
            (Document("b", "hello", metadata={"to": "ann@example.com"}), Document("b", "hello", metadata={"to": "[EMAIL]"})),
            (plain, plain),
            (Interaction("i", "u", "x", "view", AT), Interaction("i", "u", "x", "view", AT)),
        ]  # fmt: skip


class TestLanguageKeepsTheContract(TransformContract):
    def make_transform(self) -> Transform:
        return language()

    def make_examples(self) -> Sequence[tuple[Row, Row | None]]:
        said = Document("c", "我的卡被盗了,请问怎么办", locale="en")
        return [
            (Document("a", "The card was stolen this morning"), Document("a", "The card was stolen this morning", locale="en")),
            (Document("b", "我的卡被盗了,请问怎么办"), Document("b", "我的卡被盗了,请问怎么办", locale="zh")),
            (said, said),
        ]  # fmt: skip


class Lengths:
    """Sends the length of every text, once per change."""

    name, kind, collection = "lengths", "documents", "notes"

    def prepare(self, changes: Sequence[Change]) -> Any:
        return [(change.id, change.sequence, len(change.row.text) if change.row else 0) for change in changes]  # type: ignore[union-attr]

    def commit(self, prepared: Any, tx: Transaction) -> None:
        for each, sequence, length in prepared:
            tx.send("log", "length", {"id": each, "length": length}, key=f"{each}:{sequence}")


class LengthsContract(TaskContract):
    def make_task(self, store: Store) -> Task:
        return Lengths()

    def make_rows(self) -> Sequence[Row]:
        return [Document(f"n{n}", "a " * (n + 1)) for n in range(7)]

    def effects(self, store: Store) -> Any:
        return [row.payload for row in store.outbox()]


class TestLengthsKeepTheContract(LengthsContract):
    pass


class Early(Lengths):
    """Writes before it may."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def prepare(self, changes: Sequence[Change]) -> Any:
        with self.store.transaction() as tx:
            tx.send("log", "early", {"rows": len(changes)}, key=f"early:{changes[0].sequence}")
        return super().prepare(changes)


class Forgetful(Lengths):
    """Counts in memory what belongs in the store."""

    def __init__(self) -> None:
        self.seen = 0

    def commit(self, prepared: Any, tx: Transaction) -> None:
        self.seen += len(prepared)
        tx.send("log", "seen", {"seen": self.seen}, key=f"seen:{prepared[-1][1]}")


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Early, "test_preparing_writes_nothing"),
        (Early, "test_a_commit_that_breaks_off_writes_nothing"),
        (lambda store: Forgetful(), "test_small_batches_do_what_one_batch_does"),
        (lambda store: Forgetful(), "test_what_breaks_off_between_two_batches_is_made_good"),
    ],
)
def test_the_contract_finds_a_task_that_does_not_keep_it(tmp_path: Any, broken: Any, test: str) -> None:
    class Broken(LengthsContract):
        def make_task(self, store: Store) -> Task:
            made: Task = broken(store)
            return made

    contract = Broken()
    with contract._filled(tmp_path) as filled:
        arguments = (filled, tmp_path) if "batch" in test else (filled,)
        with pytest.raises(AssertionError):
            getattr(contract, test)(*arguments)
