"""Work on Ray: a function over many batches by Ray Data, processes that train together by Ray Train.

For processes that answer together by Ray Serve see `compute.serving`. Ray is the cluster that RAY_ADDRESS names, or one
of this machine alone, started at the first call: bound to the loopback address, without dashboard, and without the
reports of its use that Ray sends to its makers otherwise.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast

from mercat.compute.threads import cores, share
from mercat.compute.world import World, joined
from mercat.errors import MercatError, WorkerLost, missing_extra

T = TypeVar("T")
_SWITCHES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on every system: a Ray of one machine keeps to its loopback address
}
_FAILURES = 3
_PATIENCE_S = 24 * 3600


def results_on_ray(
    function: Callable[[Sequence[Any]], Sequence[Any]], batches: Iterable[list[Any]], workers: int
) -> Iterator[tuple[int, Sequence[Any]]]:
    """Yield (items of the batch, what the function gave for them) per batch, in their order.

    Each worker is given the function once; the batches of one that is lost are computed by another. All batches are
    taken before the first is computed. Raises what the function raises, and MissingExtra without ray.
    """
    cpus = connect(workers)
    return _results(function, list(batches), workers, cpus)


def fit_on_ray(work: Callable[[World], T], *, workers: int, notes: Path | None = None) -> T:
    """Do what `mercat.compute.fit` says, on Ray; its own account of the run is kept in `notes` while it lasts.

    Raises WorkerLost when workers were lost more than three times.
    """
    cpus = connect(workers)
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    gpu = gpus() >= workers
    if notes is not None:
        notes.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=notes, prefix="ray-") as folder, switched():
        trainer = TorchTrainer(
            cast(Any, _train),
            train_loop_config={"work": work, "folder": str(Path.cwd())},
            torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if gpu else "gloo", timeout_s=_PATIENCE_S),
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu, resources_per_worker={"CPU": cpus}),
            run_config=RunConfig(storage_path=folder, failure_config=FailureConfig(max_failures=_FAILURES)),
        )
        said: _Said = _outcome(trainer, workers).return_value
    result: T = said.result()
    return result


@dataclass(frozen=True, slots=True)
class _Said:
    """What was computed elsewhere, or the error that it ended with. Opaque to Ray, which keeps it as it is."""

    value: Any = None
    error: Exception | None = None

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


class _Caller:
    """One worker of Ray Data: holds the function, and with it what the function has loaded."""

    def __init__(self, function: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        self._function = function

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"said": _Said(self._function(row["said"].value))}
        except Exception as error:  # raised where the results are read, not tried again
            return {"said": _Said(error=error)}


def _results(
    function: Callable[[Sequence[Any]], Sequence[Any]], batches: Sequence[list[Any]], workers: int, cpus: int
) -> Iterator[tuple[int, Sequence[Any]]]:
    import ray.data

    if not batches:
        return
    rows = ray.data.from_items([{"said": _Said(batch)} for batch in batches], override_num_blocks=len(batches))
    rows.context.execution_options.preserve_order = True
    rows.context.enable_progress_bars = False
    rows.context.print_on_execution_start = False
    pool, caller = ray.data.ActorPoolStrategy(size=workers), cast(Any, _Caller)
    done = rows.map(caller, fn_constructor_args=[function], compute=pool, num_cpus=cpus)
    with switched():  # Ray Data asks again, in this process
        for batch, row in zip(batches, _aside(done.iter_rows()), strict=True):
            yield len(batch), row["said"].result()


def _aside(items: Iterable[T]) -> Iterator[T]:
    """Yield the items; what Ray prints while the next one is awaited goes to standard error."""
    source = iter(items)
    while True:
        with redirect_stdout(sys.stderr):
            try:
                item = next(source)
            except StopIteration:
                return
        yield item


def _train(config: dict[str, Any]) -> _Said:
    """Run in each worker of Ray Train. What the user can mend is told, not tried again."""
    if Path(config["folder"]).is_dir():  # Ray works in a folder of its own, where relative paths lead nowhere
        os.chdir(config["folder"])
    try:
        with joined() as world:
            return _Said(config["work"](world))
    except WorkerLost:
        raise
    except MercatError as error:
        return _Said(error=error)


def _outcome(trainer: Any, workers: int) -> Any:
    from ray.train import TrainingFailedError

    try:
        with redirect_stdout(sys.stderr):  # Ray prints there that a worker was lost; what is asked for comes later
            return trainer.fit()
    except TrainingFailedError as error:
        raise WorkerLost(
            f"{workers} workers of Ray computed together",
            f"They failed {_FAILURES + 1} times; the last time: {str(error).strip().splitlines()[-1]}",
            "the same command again: it goes on from the last checkpoint",
        ) from error


def connect(workers: int) -> int:
    """Connect to Ray, or start it here; return the cores for each worker. Raises MissingExtra without ray."""
    with switched():
        try:
            import ray
        except ImportError as error:
            raise missing_extra("Work on Ray", "ray", "ray") from error
        if ray.is_initialized():
            return 1
        logging.getLogger("ray").setLevel(logging.ERROR)  # it reports each start and end of everything
        if os.environ.get("RAY_ADDRESS"):
            ray.init(log_to_driver=False, configure_logging=False)
            return 1
        most = max(cores(), workers + 1)
        ray.init(include_dashboard=False, num_cpus=most, log_to_driver=False, configure_logging=False)
        return share(workers)


def gpus() -> float:
    """Return how many GPUs Ray has."""
    import ray

    found: Any = ray
    return float(found.cluster_resources().get("GPU", 0))


@contextmanager
def switched() -> Iterator[None]:
    """Set Ray's switches for the block, where the user has not: its own processes take them from the environment."""
    ours = {name: value for name, value in _SWITCHES.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
