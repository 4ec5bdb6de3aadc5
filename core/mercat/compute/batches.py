"""One function over many items in batches, on this machine or on a Ray cluster: the same results in the same order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import islice
from typing import Any, Literal, TypeVar

from mercat.errors import ConfigError, missing_extra

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
    be endless. `progress` is told the number of items done. "local" runs in this process, in threads if there are
    several workers; "processes" and "ray" need a function and items that can be sent to another process.
    The first exception of `function` is raised and stops the rest. Raises MissingExtra without ray. Raises ConfigError
    for an unknown backend and for sizes below 1.
    """
    if batch_size < 1 or workers < 1:
        raise ConfigError(
            f"batch_size = {batch_size}, workers = {workers}", "Both must be at least 1", "batch_size = 64"
        )
    batches = _cut(items, batch_size)
    if backend == "ray":
        results = _on_ray(function, batches, workers)
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
    pool: Executor = _processes(workers) if processes else ThreadPoolExecutor(workers, "mercat-map")
    waiting: deque[tuple[int, Future[Sequence[R]]]] = deque()
    try:
        for batch in batches:
            waiting.append((len(batch), pool.submit(function, batch)))
            if len(waiting) >= 2 * workers:
                asked, future = waiting.popleft()
                yield asked, future.result()
        while waiting:
            asked, future = waiting.popleft()
            yield asked, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _processes(workers: int) -> Executor:
    from multiprocessing import get_context

    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))  # a fork would copy locked thread pools


def _on_ray(
    function: Callable[[Sequence[T]], Sequence[R]], batches: Iterator[list[T]], workers: int
) -> Iterator[tuple[int, Sequence[R]]]:
    try:
        import ray
    except ImportError as error:
        raise missing_extra("map_batches(backend='ray')", "ray", "ray") from error
    return _ray_results(ray, function, batches, workers)


def _ray_results(
    ray: Any, function: Callable[[Sequence[T]], Sequence[R]], batches: Iterator[list[T]], workers: int
) -> Iterator[tuple[int, Sequence[R]]]:
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    remote = ray.remote(function)
    waiting: deque[tuple[int, Any]] = deque()
    for batch in batches:
        waiting.append((len(batch), remote.remote(batch)))
        if len(waiting) >= 2 * workers:
            asked, promise = waiting.popleft()
            yield asked, ray.get(promise)
    while waiting:
        asked, promise = waiting.popleft()
        yield asked, ray.get(promise)
