"""Micro-batching: requests that arrive together are answered by one call, in order, without harming each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from mercat.errors import MercatError

Q = TypeVar("Q")
A = TypeVar("A")


class Overloaded(MercatError):
    """Too much waits already, or the answer took too long (HTTP 503)."""

    retry_after_s = 1


@dataclass(slots=True)
class _Waiting(Generic[Q, A]):
    request: Q
    answer: asyncio.Future[A]


class Batcher(Generic[Q, A]):
    """Collects requests for one service and asks it from one worker thread.

    While a batch is being answered the next one gathers; an idle service waits `max_wait_s` for company. When a batch
    fails its requests are asked one by one, so that only the bad one fails: `answer_many` must bear being asked the
    same request id twice.
    """

    def __init__(
        self,
        answer_many: Callable[[Sequence[Q]], Sequence[A]],
        *,
        max_batch: int = 64,
        max_wait_s: float = 0.004,
        max_queue: int = 256,
        timeout_s: float = 60.0,
        observe: Callable[[int, float], None] = lambda size, seconds: None,
        name: str = "service",
    ) -> None:
        self._answer_many, self._observe, self.name = answer_many, observe, name
        self._max_batch, self._max_wait_s, self._timeout_s = max_batch, max_wait_s, timeout_s
        self._max_queue = max_queue
        self._queue: asyncio.Queue[_Waiting[Q, A]] = asyncio.Queue()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"mercat-{name}")
        self._collector: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many requests wait for their batch."""
        return self._queue.qsize()

    async def ask(self, request: Q) -> A:
        """Return the answer to one request. Raises Overloaded, or whatever the service raises for this request."""
        if self._closed:
            raise self._stopped()
        if self.waiting >= self._max_queue:
            raise Overloaded(f"'{self.name}' was asked", f"{self.waiting} requests wait already", "again in a second")
        if self._collector is None or self._collector.done():
            self._collector = asyncio.create_task(self._collect())
        item: _Waiting[Q, A] = _Waiting(request, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(item)
        try:
            return await asyncio.wait_for(item.answer, self._timeout_s)
        except TimeoutError:
            raise Overloaded(
                f"'{self.name}' was asked", f"No answer within {self._timeout_s:g} s", "again, or a shorter text"
            ) from None

    async def close(self) -> None:
        """Stop collecting; what still waits is refused."""
        self._closed = True
        if self._collector is not None:
            self._collector.cancel()
            await asyncio.gather(self._collector, return_exceptions=True)
        while not self._queue.empty():
            _fail(self._queue.get_nowait(), self._stopped())
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _stopped(self) -> Overloaded:
        return Overloaded(f"'{self.name}' was asked", "The server stops", "again later")

    async def _collect(self) -> None:
        while True:
            batch = [await self._queue.get()]
            try:
                await self._gather(batch)
                batch = [item for item in batch if not item.answer.done()]  # without those whose client has gone
                if batch:
                    await self._answer(batch)
            except asyncio.CancelledError:
                for item in batch:
                    _fail(item, self._stopped())
                raise

    async def _gather(self, batch: list[_Waiting[Q, A]]) -> None:
        until = time.monotonic() + self._max_wait_s
        while len(batch) < self._max_batch:
            left = until - time.monotonic()
            if self._queue.empty() and left <= 0:
                return
            try:
                batch.append(await asyncio.wait_for(self._queue.get(), max(left, 0.0005)))
            except TimeoutError:
                return

    async def _answer(self, batch: list[_Waiting[Q, A]]) -> None:
        started = time.perf_counter()
        try:
            answers = await self._call([item.request for item in batch])
        except Exception as error:
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            for item in batch:
                await self._answer([item])
            return
        self._observe(len(batch), time.perf_counter() - started)
        for item, answer in zip(batch, answers, strict=True):
            if not item.answer.done():
                item.answer.set_result(answer)

    async def _call(self, requests: list[Q]) -> Sequence[A]:
        answers = await asyncio.get_running_loop().run_in_executor(self._worker, self._answer_many, requests)
        if len(answers) != len(requests):
            raise RuntimeError(f"'{self.name}' gave {len(answers)} answers to {len(requests)} requests")
        return answers


def _fail(item: _Waiting[Q, A], error: Exception) -> None:
    if not item.answer.done():
        item.answer.set_exception(error)
