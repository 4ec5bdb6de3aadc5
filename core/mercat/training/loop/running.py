"""What recipes share that learn by the loop: a seed, a digest, who is told of the figures, what a report says of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from mercat.training.base import Run
from mercat.training.loop.adversary import Adversary
from mercat.training.loop.checkpoint import Checkpoints
from mercat.training.loop.loop import Loop, Outcome
from mercat.training.loop.objective import Objective
from mercat.training.loop.settings import LoopSettings
from mercat.training.loop.steering import Steering
from mercat.training.tracking import Resuming, TensorBoard, Tracked, Tracker, board_of, require_tensorboard


@dataclass(frozen=True, slots=True)
class Telling:
    """Who is told of a run's figures, and the clock that it goes by. Raises MissingExtra without TensorBoard."""

    tensorboard: bool
    trackers: Sequence[Tracker]
    monotonic: Callable[[], float]

    def __post_init__(self) -> None:
        if self.tensorboard:
            require_tensorboard()

    def boards(self, run: Run) -> list[str]:
        """Return how to look at the curves, as notes of a report."""
        return [f"Curves: tensorboard --logdir {board_of(run.scratch).parent}"] if self.tensorboard else []


def run_loop(
    run: Run,
    model: torch.nn.Module,
    settings: LoopSettings,
    *,
    objective: Objective,
    checkpoints: Checkpoints,
    telling: Telling,
    adversary: Adversary | None = None,
    steering: Steering | None = None,
) -> Outcome:
    """Run the fine-tune loop with the run's seed and its world, and close the trackers whatever comes."""
    trackers = [*telling.trackers] if run.world.first else []
    if telling.tensorboard and run.world.first:
        trackers.append(TensorBoard(board_of(run.scratch)))
    key = checkpoints.key if any(isinstance(each, Resuming) for each in trackers) else ""  # one for all of them
    try:
        for tracker in trackers:
            if isinstance(tracker, Resuming):
                tracker.resume(run.name, key)
            else:
                tracker.begin(run.name)
        told = Tracked(run.progress, trackers)
        checkpoints.on_save = told.release
        return Loop(
            model,
            settings,
            objective=objective,
            checkpoints=checkpoints,
            seed=run.seed,
            progress=told,
            clock=telling.monotonic,
            adversary=adversary,
            steering=steering,
            world=run.world,
        ).run()
    finally:
        for tracker in trackers:
            tracker.close()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch draw from this seed in the block, and from where it was afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def shape_of(settings: LoopSettings) -> dict[str, Any]:
    """Return the settings of a loop that shape its result."""
    return {key: value for key, value in asdict(settings).items() if key != "checkpoint_every_s"}


def digest_of(*parts: Any) -> str:
    """Return a hash of everything that shapes a run; a checkpoint with another one is not used."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def details_of(outcome: Outcome) -> dict[str, Any]:
    """Return what a report keeps of a loop."""
    return {
        "history": [asdict(figures) for figures in outcome.history],
        "best_epoch": outcome.best_epoch,
        "averaged_epochs": outcome.averaged,
        "resumed_at": outcome.resumed_at,
        "loop_seconds": outcome.seconds,
        "processes": outcome.processes,
        "dtype": outcome.dtype,
    }


def notes_of(outcome: Outcome, epochs: int) -> list[str]:
    """Return what a person should know of a loop that was to run so many epochs."""
    notes = []
    if outcome.stopped_early:
        notes.append(f"Stopped after epoch {len(outcome.history)} of {epochs}: validation no longer improved")
    if outcome.averaged:
        notes.append(f"The weights after the last {outcome.averaged} epochs were averaged")
    elif outcome.best_epoch + 1 < len(outcome.history):
        notes.append(f"Epoch {outcome.best_epoch + 1} was kept; later ones did worse on validation")
    if outcome.dtype != "float32":
        notes.append(f"Computed in {outcome.dtype}, which the hardware has; the weights are float32")
    if outcome.resumed_at:
        notes.append(f"Went on after an interruption at update {outcome.resumed_at}")
    if outcome.foreign_checkpoint:
        notes.append("A checkpoint of other settings or rows was found and not used")
    return [*notes, *outcome.notes]
