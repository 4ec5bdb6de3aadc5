"""`files/outbox`: on disk before the receipt, once per key, whatever dies."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from mercat.connect import Message, Sink
from mercat.errors import ConnectError
from mercat.testing.connect import SinkContract
from mercat_connectors.files.outbox import Outbox


def message(number: int, text: str = "help") -> Message:
    return Message(number, f"ticket-{number}", "ticket", {"text": text, "n": number})


def keys(path: Path) -> list[str]:
    return [json.loads(line)["key"] for line in path.read_text().splitlines()]


class TestOutboxKeepsTheContract(SinkContract):
    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = tmp_path / "out" / "messages.jsonl"

    def make_sink(self) -> Sink:
        return Outbox(self.path)

    def make_message(self, number: int) -> Message:
        return message(number)

    def effects(self) -> int:
        return len(keys(self.path)) if self.path.exists() else 0


def test_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    Outbox(path).send(message(1))
    with path.open("a") as file:
        file.write('{"key": "ticket-2", "ki')
    receipt = Outbox(path).send(message(2))
    assert receipt.external_id == "2"
    assert keys(path) == ["ticket-1", "ticket-2"]


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="was written"):
        Outbox(tmp_path).send(message(1))


def _send_all(path: Path) -> None:
    sink = Outbox(path)
    for number in range(200):
        sink.send(message(number, "x" * 500))


def test_two_processes_and_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    context = multiprocessing.get_context("fork")
    for _ in range(6):
        workers = [context.Process(target=_send_all, args=(path,)) for _ in range(2)]
        for worker in workers:
            worker.start()
        time.sleep(0.03)
        os.kill(workers[0].pid or 0, signal.SIGKILL)
        time.sleep(0.03)
        os.kill(workers[1].pid or 0, signal.SIGKILL)
        for worker in workers:
            worker.join()
    _send_all(path)
    assert sorted(keys(path)) == sorted(message(number).key for number in range(200))
