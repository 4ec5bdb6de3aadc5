"""What a loop will cost: some of its updates are made, on a model that is thrown away, and timed.

Every recipe that learns by the loop estimates by `loop_estimate`; what it does beside is in the stages of its trial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.training.estimating import BUDGET_S, Estimate, Trial, extrapolated, spread
from mercat.training.loop.batches import epoch_batches
from mercat.training.loop.checkpoint import Checkpoints, Place
from mercat.training.loop.loop import Loop
from mercat.training.loop.objective import Objective
from mercat.training.loop.settings import LoopSettings
from mercat.training.loop.weights import sizes
from mercat.training.progress import silent

_MOST = 12  # sizes that are tried
_FEWEST = 3  # batches that are tried, also where all are of one size
_BYTES_WRITTEN = 8  # per weight that learns: AdamW's two moments, put together for a checkpoint before it is written
_SHORT_S = 15.0  # a loop that is over sooner needs no better estimate


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """Seconds of all updates of all epochs, how many those are, and seconds of a forward pass alone per token."""

    seconds: float
    updates: int
    forward_s_per_token: float


def loop_estimate(
    trial: Trial,
    model: torch.nn.Module,
    settings: LoopSettings,
    *,
    objective: Objective,
    seed: int,
    validation: Iterable[Sized] = (),
    runs: float = 1.0,
    beside_mb: float = 0.0,
    **further: Any,
) -> Estimate:
    """Rehearse the loop and return the estimate of a trial whose other stages are known.

    `validation` has the tokens of each validation row, as long as the model reads it; empty where the recipe has a
    stage of its own for that. `runs` is how often the loop is run, `beside_mb` what is held that the trial does
    not hold; `further` are an adversary and steering.
    """
    loop = rehearse(model, settings, objective=objective, seed=seed, clock=trial.clock, **further)
    trial.stages["learn"] = runs * loop.seconds
    if tokens := sum(map(len, validation)):
        trial.stages["validate"] = (settings.epochs + 2) * loop.forward_s_per_token * tokens
    device, numbers = str(next(model.parameters()).device), sizes(model)
    written_mb = _BYTES_WRITTEN * numbers["trainable_parameters"] / 2**20 if device == "cpu" else 0.0
    return trial.done(**numbers, updates=loop.updates, device=device, further_mb=written_mb + beside_mb)


def rehearse(
    model: torch.nn.Module,
    settings: LoopSettings,
    *,
    objective: Objective,
    seed: int,
    clock: Callable[[], float],
    budget_s: float = BUDGET_S,
    **further: Any,
) -> Rehearsed:
    """Make updates of all sizes for `budget_s`, the largest one first, so that the peak of memory is behind it.

    The model is changed; torch's generator is left as it was. `further` are an adversary and steering, as for `Loop`.
    """
    lengths = np.asarray(objective.lengths)
    batches = epoch_batches(objective.lengths, settings.batch_size, seed=seed, epoch=0)
    sizes = np.array([len(rows) * max(int(lengths[rows].max()), 1) for rows in batches])
    device = next(model.parameters()).device
    with TemporaryDirectory() as folder, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        checkpoints = Checkpoints(Path(folder), "rehearsal")
        loop = Loop(
            model,
            settings,
            objective=objective,
            checkpoints=checkpoints,
            seed=seed,
            progress=silent,
            clock=clock,
            **further,
        )
        place = Place("rehearsal", epoch=settings.epochs - 1)  # where all weights learn that ever do
        took: dict[float, list[float]] = {}
        started = clock()
        for count, at in enumerate(_order(sizes), start=1):
            seconds = loop.timed_update(batches[at], place)
            if not took and seconds < budget_s / 3:  # it has only warmed up
                seconds = loop.timed_update(batches[at], place)
            took.setdefault(float(sizes[at]), []).append(seconds)
            tried = {size: float(np.mean(each)) for size, each in took.items()}
            whole = settings.epochs * extrapolated(sizes, tried)
            if clock() - started > budget_s or (count >= _FEWEST and whole < _SHORT_S):
                break
        middle = batches[int(np.argsort(sizes)[len(sizes) // 2])]
        with loop.learning():
            forward_s = _forward_seconds(model, objective, middle, clock)
        forward = forward_s / (len(middle) * max(int(lengths[middle].max()), 1))
    return Rehearsed(whole, settings.updates(len(lengths)), forward)


def _order(sizes: NDArray[np.int64]) -> Iterator[int]:
    """Yield batches, each size once: the largest, the middle, the smallest, then those between.

    Where there are fewer than three sizes, some have to be tried again.
    """
    ordered = np.argsort(-sizes, kind="stable")
    places = [0, len(ordered) // 2, len(ordered) - 1, *spread(len(ordered), _MOST).tolist()]
    seen: set[int] = set()
    for place in places:
        number = int(ordered[place])
        if int(sizes[number]) not in seen:
            seen.add(int(sizes[number]))
            yield number
    if len(seen) < _FEWEST:
        yield from ordered[spread(len(ordered), _FEWEST - len(seen))].tolist()


def _forward_seconds(
    model: torch.nn.Module, objective: Objective, rows: NDArray[np.int64], clock: Callable[[], float]
) -> float:
    model.eval()
    with torch.no_grad():
        started = clock()
        objective.step(model, rows).loss.item()
        return clock() - started
