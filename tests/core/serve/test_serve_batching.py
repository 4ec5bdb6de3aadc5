from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from mercat.serve.batching import Batcher, Overloaded

T = TypeVar("T")


def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end in a thread of its own: a browser test may have left a loop running in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


class Doubler:
    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()

    def answer_many(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        assert self.open.wait(10)
        if any(number < 0 for number in numbers):
            raise ValueError(f"cannot double {min(numbers)}")
        return [number * 2 for number in numbers]


def run(doubler: Doubler, numbers: Sequence[int], **options: Any) -> list[Any]:
    async def all_of_them() -> list[Any]:
        batcher: Batcher[int, int] = Batcher(doubler.answer_many, **options)
        try:
            return list(await asyncio.gather(*(batcher.ask(n) for n in numbers), return_exceptions=True))
        finally:
            await batcher.close()

    return to_the_end(all_of_them())


def test_what_comes_together_is_asked_together_and_answered_in_order() -> None:
    doubler = Doubler()
    assert run(doubler, range(100), max_batch=64, max_wait_s=0.05) == [n * 2 for n in range(100)]
    assert [len(batch) for batch in doubler.batches] == [64, 36]


def test_one_bad_request_harms_no_other() -> None:
    doubler = Doubler()
    answers = run(doubler, [1, 2, -3, 4], max_wait_s=0.05)
    assert [a for a in answers if isinstance(a, int)] == [2, 4, 8]
    assert isinstance(answers[2], ValueError)
    assert doubler.batches == [[1, 2, -3, 4], [1], [2], [-3], [4]]


def test_a_single_request_does_not_wait_for_long() -> None:
    doubler, times = Doubler(), []

    async def one() -> None:
        batcher: Batcher[int, int] = Batcher(doubler.answer_many, max_wait_s=0.004)
        loop = asyncio.get_running_loop()
        for n in range(10):
            started = loop.time()
            assert await batcher.ask(n) == n * 2
            times.append(loop.time() - started)
        await batcher.close()

    to_the_end(one())
    assert sorted(times)[4] < 0.05


def test_the_next_batch_gathers_while_one_is_answered() -> None:
    doubler = Doubler()

    async def busy() -> None:
        batcher: Batcher[int, int] = Batcher(doubler.answer_many, max_wait_s=0.001)
        doubler.open.clear()
        first = asyncio.create_task(batcher.ask(1))
        while not doubler.batches:
            await asyncio.sleep(0.001)
        later = [asyncio.create_task(batcher.ask(n)) for n in range(2, 12)]
        await asyncio.sleep(0.02)
        assert batcher.waiting == 10
        doubler.open.set()
        assert await asyncio.gather(first, *later) == [n * 2 for n in range(1, 12)]
        await batcher.close()

    to_the_end(busy())
    assert [len(batch) for batch in doubler.batches] == [1, 10]


def test_a_full_queue_refuses_and_who_left_is_not_answered() -> None:
    doubler = Doubler()

    async def flood() -> None:
        batcher: Batcher[int, int] = Batcher(doubler.answer_many, max_wait_s=0.001, max_queue=3)
        doubler.open.clear()
        first = asyncio.create_task(batcher.ask(0))
        while not doubler.batches:
            await asyncio.sleep(0.001)
        waiting = [asyncio.create_task(batcher.ask(n)) for n in (1, 2, 3)]
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded, match="3 requests wait already"):
            await batcher.ask(4)
        waiting[1].cancel()
        await asyncio.sleep(0)
        doubler.open.set()
        assert await first == 0
        assert await waiting[0] == 2
        assert await waiting[2] == 6
        await batcher.close()

    to_the_end(flood())
    assert doubler.batches == [[0], [1, 3]]


def test_an_answer_that_never_comes_is_given_up_and_a_wrong_count_is_an_error() -> None:
    async def slow() -> None:
        doubler = Doubler()
        doubler.open.clear()
        batcher: Batcher[int, int] = Batcher(doubler.answer_many, timeout_s=0.05)
        with pytest.raises(Overloaded, match="No answer within"):
            await batcher.ask(1)
        doubler.open.set()
        await batcher.close()
        short: Batcher[int, int] = Batcher(lambda numbers: [])
        with pytest.raises(RuntimeError, match="0 answers to 1 requests"):
            await short.ask(1)
        await short.close()

    to_the_end(slow())


def test_closing_refuses_who_still_waits() -> None:
    doubler = Doubler()

    async def closing() -> None:
        batcher: Batcher[int, int] = Batcher(doubler.answer_many, max_wait_s=0.001)
        doubler.open.clear()
        first = asyncio.create_task(batcher.ask(0))
        while not doubler.batches:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(batcher.ask(1))
        await asyncio.sleep(0.01)
        doubler.open.set()
        await batcher.close()
        for task in (first, second):
            with pytest.raises(Overloaded, match="stops"):
                await asyncio.wait_for(task, 5)

    to_the_end(closing())
