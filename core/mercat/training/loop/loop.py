"""The fine-tune loop in plain torch: batches of like length, AdamW, warm-up and linear decay, the best epoch kept.

A run that was killed and started again gives the figures of one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.compute.world import ALONE, World
from mercat.errors import ConfigError, DataError
from mercat.training.base import LOWER_IS_BETTER, Progress
from mercat.training.loop.adversary import Adversary
from mercat.training.loop.batches import epoch_batches
from mercat.training.loop.checkpoint import Checkpoints, EpochFigures, Place
from mercat.training.loop.dropout import quick_dropout
from mercat.training.loop.objective import Objective, Step
from mercat.training.loop.precision import computing, learning_dtype
from mercat.training.loop.settings import LoopSettings, parameter_groups, rate_share
from mercat.training.loop.sharing import Sharing
from mercat.training.loop.steering import Ending, Steering
from mercat.training.loop.unfreezing import Unfreezing

OnEpoch = Callable[[EpochFigures], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a loop did. The model is left at its best epoch, or at the mean of the last `averaged` ones.

    `resumed_at` counts updates; 0: from the beginning.
    """

    history: Sequence[EpochFigures]
    best_epoch: int
    updates: int
    stopped_early: bool
    resumed_at: int
    foreign_checkpoint: bool
    seconds: float
    averaged: int = 0
    notes: Sequence[str] = ()
    processes: int = 1
    dtype: str = "float32"


class Loop:
    """Brings a model nearer to an objective, and leaves it where it did best on the objective's validation rows.

    Weights whose names start with `head.` learn at the head's rate. `dtype` is the number format that the body computes
    in: that of the settings, on the model's device. `clock` gives seconds that only grow. Stops with DataError at a
    loss or a gradient that is not finite, the last good weights being in the checkpoint that it names.

    The processes of a `world` share each batch, and all end with the weights that one would have; the first of them
    validates and writes. Raises ConfigError for an objective whose batches cannot be shared.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        settings: LoopSettings,
        *,
        objective: Objective,
        checkpoints: Checkpoints,
        seed: int,
        progress: Progress,
        clock: Callable[[], float],
        on_epoch: Sequence[OnEpoch] = (),
        adversary: Adversary | None = None,
        steering: Steering | None = None,
        world: World = ALONE,
    ) -> None:
        self.model, self.settings, self.objective = model, settings, objective
        self._checkpoints, self._seed = checkpoints, seed
        self._progress, self._clock, self._on_epoch = progress, clock, on_epoch
        self._adversary, self._steering = adversary, steering
        self._device = next(model.parameters()).device
        self.dtype = learning_dtype(settings.dtype, self._device)
        self._unfreezing = Unfreezing(model, plan=settings.unfreeze)
        self._groups = parameter_groups(model, settings)
        self._optimiser = torch.optim.AdamW(self._groups, fused=True)  # a fifth less time per step on a CPU
        self._rates = [float(group["lr"]) for group in self._groups]
        self._total = settings.updates(len(objective.lengths))
        self._world = world
        self._sharing = Sharing(world, objective, self._weights(), seed=seed)

    def run(self) -> Outcome:
        """Train, or go on from the last checkpoint; leave the model at its best epoch, in evaluation mode."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self._seed)
            place = self._begin()
            resumed_at = place.updates
            self._started = self._saved = self._clock() - place.seconds
            self._sharing.begin(f"{place.digest} in {self.dtype}", place.updates)
            if not resumed_at and self._world.first:
                self._checkpoints.forget_epochs()
            with self.learning():
                averaged = self._learn(place)
        self.model.eval()
        return Outcome(
            tuple(place.history),
            place.best_epoch,
            place.updates,
            place.stopped,
            resumed_at,
            self._checkpoints.foreign,
            place.seconds,
            averaged,
            self._notes(place),
            self._world.size,
            self.dtype,
        )

    def _learn(self, place: Place) -> int:
        """Go through the epochs that are left; return how many of the last ones the weights are the mean of."""
        while place.epoch < self.settings.epochs and not place.stopped:
            self._epoch(place)
            self._judge(place)
            self._save(place)
        self._world.told("saved")  # nobody reads what the first process is still writing
        return self._end(place)

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Let the model compute in this block as it does while it learns: its number format, its dropout."""
        with computing(self.model, self.dtype), quick_dropout(self.model):
            yield

    def timed_update(self, rows: NDArray[np.int64], place: Place) -> float:
        """Make an update on these train rows, as one of `place`, and return the seconds that it took."""
        started = self._clock()
        self._started = self._saved = started
        self.model.train()
        with self.learning():
            self._update(rows, place)
        return self._clock() - started

    def _begin(self) -> Place:
        """Return where the last checkpoint stood, with everything as it was there, or the very beginning."""
        place = self._checkpoints.load(self.model, self._optimiser)
        if place and self._steering:
            self._steering.restore(self._checkpoints.load_steering())
        place = place or Place(self._checkpoints.digest)
        self.dtype = place.dtype = place.dtype or self.dtype  # on another machine too, a run ends as it began
        return place

    def _notes(self, place: Place) -> list[str]:
        notes = [self._unfreezing.note(len(place.history)), self._steering.note() if self._steering else ""]
        return [note for note in notes if note]

    def _end(self, place: Place) -> int:
        """Bring the model to the mean of the last epochs or to the best one; return how many were averaged."""
        if self.settings.average_epochs > 1:
            averaged = self._checkpoints.load_average(self.model)
            if self._merit(self._validated()) >= place.best:
                return averaged
        self._checkpoints.load_best(self.model)
        return 0

    def _epoch(self, place: Place) -> None:
        order = epoch_batches(self.objective.lengths, self.settings.batch_size, seed=self._seed, epoch=place.epoch)
        self.model.train()
        for rows in order[place.step :]:
            self._update(rows, place)
            self._tell(place)
            if self._clock() - self._saved >= self.settings.checkpoint_every_s:
                self._save(place)

    def _update(self, rows: NDArray[np.int64], place: Place) -> None:
        with self._unfreezing.at(place.epoch):
            step = self._gradients(rows, place)
        self._require_finite(step.loss, "loss", place)
        length = torch.nn.utils.clip_grad_norm_(self._weights(), self.settings.gradient_clip)
        self._require_finite(length, "gradient", place)
        self._set_rates(place.updates)
        self._optimiser.step()
        if self._steering:
            self._steering.stepped(place.updates + 1)
        self._optimiser.zero_grad()
        place.step += 1
        place.updates += 1
        place.add({"loss": step.loss.item(), **step.figures}, rows=len(rows))

    def _gradients(self, rows: NDArray[np.int64], place: Place) -> Step:
        """Leave the gradients of a batch with the weights; return what its forward pass gave."""
        self._sharing.seed(place.updates)
        mine = self._world.share(rows)
        return self._sharing.together(self._descend(mine) if len(mine) else None, rows=len(mine))

    def _descend(self, rows: NDArray[np.int64]) -> Step:
        """Leave the gradients of these rows with the weights; return what their forward pass gave."""
        with self._adversary.watching() if self._adversary else nullcontext():
            step = self.objective.step(self.model, rows)
        torch.autograd.backward(step.loss + self._steering.penalty() if self._steering else step.loss)
        if self._adversary:
            with self._adversary.attacking():
                torch.autograd.backward(self.objective.step(self.model, rows).loss)
        return step

    def _require_finite(self, value: torch.Tensor, what: str, place: Place) -> None:
        """Raise DataError before the optimiser takes such a step; the weights as they are now are kept."""
        if torch.isfinite(value):
            return
        self._optimiser.zero_grad()
        self._save(place)
        raise DataError(
            f"Fine-tuning reached a {what} of {value.item()} after {place.updates} updates, in epoch {place.epoch + 1}",
            f"learning_rate = {self.settings.learning_rate}; the last good weights are in {self._checkpoints.latest}",
            "learning_rate = a smaller value in mercat.toml",
        )

    def _set_rates(self, updates: int) -> None:
        share = rate_share(updates, total=self._total, warmup=self.settings.warmup)
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * share

    def _judge(self, place: Place) -> None:
        """Close an epoch: figures on the validation part, the best weights kept, early stop."""
        found = self._validated()
        figures = EpochFigures(place.epoch, place.means(), found)
        place.history.append(figures)
        merit = self._merit(found)
        if not isinstance(self._steering, Ending) or self._steering.ended:
            self._compare(place, merit, loss=found["loss"])
        place.next_epoch()
        place.stopped = bool(self.settings.patience) and place.worse >= self.settings.patience
        self._progress("validate", place.epoch, self.settings.epochs, **found)
        for call in self._on_epoch:
            call(figures)

    def _compare(self, place: Place, merit: float, *, loss: float) -> None:
        """Keep the weights of the epoch just closed if they are the best so far."""
        best_loss = place.history[place.best_epoch].validation["loss"]
        if merit > place.best or (merit == place.best and loss < best_loss):
            place.best, place.best_epoch, place.worse = merit, place.epoch, 0
            if self._world.first:
                self._checkpoints.save_best(self.model)
        else:
            place.worse += 1
        if self.settings.average_epochs > 1 and self._world.first:
            self._checkpoints.save_epoch(self.model, place.epoch, last=self.settings.average_epochs)

    def _validated(self) -> dict[str, float]:
        """Return the figures on the validation part, the same in every process."""
        found = self.objective.validate(self.model) if self._world.first else {}
        return self._world.told({name: float(value) for name, value in found.items()})

    def _merit(self, figures: Mapping[str, float]) -> float:
        by = self.settings.choose_by
        if by not in figures:
            raise ConfigError(f"choose_by = '{by}'", f"Known here: {', '.join(figures)}", "choose_by = 'loss'")
        return -figures[by] if by in LOWER_IS_BETTER else figures[by]

    def _weights(self) -> list[torch.nn.Parameter]:
        return [weight for group in self._groups for weight in group["params"]]

    def _tell(self, place: Place) -> None:
        spent = self._clock() - self._started
        rate = place.updates / spent if spent > 0 else 0.0
        eta_s = (self._total - place.updates) / rate if rate else 0.0
        self._progress("train", place.updates, self._total, **place.means(), eta_s=eta_s)

    def _save(self, place: Place) -> None:
        self._saved = self._clock()
        place.seconds = self._saved - self._started
        if not self._world.first:
            return
        steering = self._steering.state() if self._steering else None
        self._checkpoints.save(self.model, self._optimiser, place, steering=steering)
