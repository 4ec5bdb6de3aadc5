"""One function over many items in batches, on this machine or on a Ray cluster: the same results in the same order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from typing import Any, Literal, TypeVar

from mercat.compute.threads import share
from mercat.errors import ConfigError, WorkerLost

T = TypeVar("T")
R = TypeVar("R")
Backend = Literal["local", "processes", "ray"]
Progress = Callable[[int], None]


def map_batches(
    function: Callable[[Sequence[T]], Sequence[R]],
    items: Iterable[T],
    *,
    batch_size: int,
    workers: int = 1,
    backend: Backend = "local",
    progress: Progress | None = None,
) -> Iterator[R]:
    """Yield one result per item, in the order of the items, while later batches are being computed.

    `function` takes a batch and returns as many results. At most two batches per worker are under way, so `items` may
    be endless, but not with "ray", which takes all of them first. `progress` is told the number of items done. "local"
    runs in this process, in threads if there are several workers. "processes" and "ray" need a function and items that
    can be sent to another process; each worker is given the function once, so what it loads at its first call stays
    loaded. With "ray" a worker that is lost costs nothing but time. The first exception of `function` is raised and
    stops the rest. Raises WorkerLost for a process that was killed, MissingExtra without ray, ConfigError for an
    unknown backend and for sizes below 1.
    """
    if batch_size < 1 or workers < 1:
        raise ConfigError(
            f"batch_size = {batch_size}, workers = {workers}", "Both must be at least 1", "batch_size = 64"
        )
    batches = _cut(items, batch_size)
    if backend == "ray":
        from mercat.compute.ray import results_on_ray

        results = results_on_ray(function, batches, workers)
    elif backend in ("local", "processes"):
        results = _here(function, batches, workers, processes=backend == "processes")
    else:
        raise ConfigError(f"backend = '{backend}'", "Known: local, processes, ray", "backend = 'local'")
    return _flatten(results, progress)


def _flatten(results: Iterator[tuple[int, Sequence[R]]], progress: Progress | None) -> Iterator[R]:
    done = 0
    for asked, answers in results:
        if len(answers) != asked:
            raise ValueError(f"map_batches: the function returned {len(answers)} results for {asked} items")
        yield from answers
        done += asked
        if progress is not None:
            progress(done)


def _cut(items: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


def _here(
    function: Callable[[Sequence[T]], Sequence[R]], batches: Iterator[list[T]], workers: int, *, processes: bool
) -> Iterator[tuple[int, Sequence[R]]]:
    if workers == 1 and not processes:
        for batch in batches:
            yield len(batch), function(batch)
        return
    pool = _processes(workers, function) if processes else ThreadPoolExecutor(workers, "mercat-map")
    call: Callable[[Sequence[T]], Sequence[R]] = _Given.call if processes else function
    waiting: deque[tuple[int, Future[Sequence[R]]]] = deque()
    try:
        for batch in batches:
            waiting.append((len(batch), pool.submit(call, batch)))
            if len(waiting) >= 2 * workers:
                asked, future = waiting.popleft()
                yield asked, future.result()
        while waiting:
            asked, future = waiting.popleft()
            yield asked, future.result()
    except BrokenProcessPool as error:
        raise WorkerLost(
            f"{workers} processes worked on batches", "One of them was killed", "the same again, or fewer processes"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _processes(workers: int, function: Callable[[Any], Any]) -> Executor:
    context = get_context("spawn")  # a fork would copy locked thread pools
    return ProcessPoolExecutor(workers, context, initializer=_Given.take, initargs=(function, share(workers)))


class _Given:
    """In a worker process: the function that it was given at its start, with what that has loaded since."""

    function: Callable[[Any], Any]

    @classmethod
    def take(cls, function: Callable[[Any], Any], threads: int) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
        cls.function = function

    @classmethod
    def call(cls, batch: Sequence[Any]) -> Any:
        return cls.function(batch)
