"""The fine-tune loop in plain torch: batches of like length, AdamW, warm-up and linear decay, the best epoch kept.

A run that was killed and started again gives the figures of one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.errors import ConfigError, DataError
from mercat.training.adversary import Adversary
from mercat.training.base import Progress
from mercat.training.batches import Encoded, epoch_batches, length_batches, pad
from mercat.training.checkpoint import Checkpoints, EpochFigures, Place
from mercat.training.compare import mean_f1
from mercat.training.model import in_head, layer_of
from mercat.training.steering import Steering
from mercat.training.unfreezing import Unfreeze, Unfreezing

Choice = Literal["accuracy", "macro_f1", "loss"]
OnEpoch = Callable[[EpochFigures], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """How a model is fine-tuned. Rates are those of AdamW after warm-up; `warmup` is a share of all steps.

    `layer_decay` below 1 gives each layer further down a smaller rate. `patience` counts epochs without a better
    `choose_by` on the validation part before the run stops; 0 never stops early. `adversarial` above 0 trains against
    embeddings moved by that share of their length. `average_epochs` above 1 takes the mean of the weights after the
    last epochs, unless validation says that the best single epoch does better (Izmailov et al. 2018,
    https://arxiv.org/abs/1803.05407). `unfreeze` "gradual" lets the top layer learn first, one more in each epoch.
    """

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 2e-4
    head_learning_rate: float = 5e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    layer_decay: float = 1.0
    unfreeze: Unfreeze = "at-once"
    label_smoothing: float = 0.0
    gradient_clip: float = 1.0
    adversarial: float = 0.0
    average_epochs: int = 0
    patience: int = 0
    choose_by: Choice = "accuracy"
    checkpoint_every_s: float = 60.0

    def __post_init__(self) -> None:
        for name, least in (
            ("epochs", 1),
            ("batch_size", 1),
            ("patience", 0),
            ("average_epochs", 0),
            ("adversarial", 0),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} = {getattr(self, name)}", f"It is at least {least}", f"{name} = {least}")
        for name in ("warmup", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)}", "It is a share", f"{name} = 0.1")
        if self.unfreeze not in ("at-once", "gradual"):
            raise ConfigError(f"unfreeze = '{self.unfreeze}'", "Known: at-once, gradual", "unfreeze = 'gradual'")

    def updates(self, rows: int) -> int:
        """Return how many updates all epochs over so many rows make."""
        return self.epochs * math.ceil(rows / self.batch_size)


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


class Loop:
    """Fine-tunes a model whose `forward(input_ids, attention_mask)` gives logits of shape (rows, labels).

    Weights whose names start with `head.` learn at the head's rate. `clock` gives seconds that only grow.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        settings: LoopSettings,
        *,
        train: Encoded,
        validation: Encoded,
        pad_id: int,
        checkpoints: Checkpoints,
        seed: int,
        progress: Progress,
        clock: Callable[[], float],
        class_weights: NDArray[np.float32] | None = None,
        on_epoch: Sequence[OnEpoch] = (),
        adversary: Adversary | None = None,
        steering: Steering | None = None,
    ) -> None:
        self.model, self.settings, self.train, self.validation = model, settings, train, validation
        self._pad_id, self._checkpoints, self._seed = pad_id, checkpoints, seed
        self._progress, self._clock, self._on_epoch = progress, clock, on_epoch
        self._adversary, self._steering = adversary, steering
        self._device = next(model.parameters()).device
        weights = None if class_weights is None else torch.from_numpy(class_weights).to(self._device)
        self._loss = torch.nn.CrossEntropyLoss(weight=weights, label_smoothing=settings.label_smoothing)
        self._unfreezing = Unfreezing(model, plan=settings.unfreeze)
        self._groups = parameter_groups(model, settings)
        self._optimiser = torch.optim.AdamW(self._groups, fused=True)  # a fifth less time per step on a CPU
        self._rates = [float(group["lr"]) for group in self._groups]
        self._total = settings.updates(len(train))

    def run(self) -> Outcome:
        """Train, or go on from the last checkpoint; leave the model at its best epoch, in evaluation mode."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self._seed)
            place = self._begin()
            resumed_at = place.updates
            self._started = self._saved = self._clock() - place.seconds
            if not resumed_at:
                self._checkpoints.forget_epochs()
            while place.epoch < self.settings.epochs and not place.stopped:
                self._epoch(place)
                self._judge(place)
                self._save(place)
            averaged = self._end(place)
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
        )

    def _begin(self) -> Place:
        """Return where the last checkpoint stood, with everything as it was there, or the very beginning."""
        place = self._checkpoints.load(self.model, self._optimiser)
        if place and self._steering:
            self._steering.restore(self._checkpoints.load_steering())
        return place or Place(self._checkpoints.digest)

    def _notes(self, place: Place) -> list[str]:
        notes = [self._unfreezing.note(len(place.history)), self._steering.note() if self._steering else ""]
        return [note for note in notes if note]

    def _end(self, place: Place) -> int:
        """Bring the model to the mean of the last epochs or to the best one; return how many were averaged."""
        if self.settings.average_epochs > 1:
            averaged = self._checkpoints.load_average(self.model)
            if self._merit(self._validate(place.epoch)) >= place.best:
                return averaged
        self._checkpoints.load_best(self.model)
        return 0

    def _epoch(self, place: Place) -> None:
        lengths = [len(row) for row in self.train.ids]
        order = epoch_batches(lengths, self.settings.batch_size, seed=self._seed, epoch=place.epoch)
        self.model.train()
        for rows in order[place.step :]:
            self._update(rows, place)
            self._tell(place)
            if self._clock() - self._saved >= self.settings.checkpoint_every_s:
                self._save(place)

    def _update(self, rows: NDArray[np.int64], place: Place) -> None:
        targets = torch.from_numpy(self.train.labels[rows]).to(self._device)
        with self._unfreezing.at(place.epoch):
            logits, loss = self._gradients(rows, targets, place)
        torch.nn.utils.clip_grad_norm_(self._weights(), self.settings.gradient_clip)
        self._set_rates(place.updates)
        self._optimiser.step()
        if self._steering:
            self._steering.stepped(place.updates + 1)
        self._optimiser.zero_grad()
        place.step += 1
        place.updates += 1
        place.loss_sum += loss.item() * len(rows)
        place.right += int((logits.argmax(dim=1) == targets).sum())
        place.seen += len(rows)

    def _gradients(
        self, rows: NDArray[np.int64], targets: torch.Tensor, place: Place
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Leave the gradients of a batch with the weights; return its logits and its loss."""
        with self._adversary.watching() if self._adversary else nullcontext():
            logits = self._logits(self.train, rows)
        loss = self._loss(logits, targets)
        if not torch.isfinite(loss):
            raise DataError(
                f"Fine-tuning reached a loss of {loss.item()} after {place.updates} updates",
                f"The learning rate is {self.settings.learning_rate}",
                "learning_rate = a smaller value in mercat.toml",
            )
        (loss + self._steering.penalty() if self._steering else loss).backward()
        if self._adversary:
            with self._adversary.attacking():
                self._loss(self._logits(self.train, rows), targets).backward()
        return logits, loss

    def _set_rates(self, updates: int) -> None:
        share = rate_share(updates, total=self._total, warmup=self.settings.warmup)
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * share

    def _judge(self, place: Place) -> None:
        """Close an epoch: figures on the validation part, the best weights kept, early stop."""
        figures = replace(
            self._validate(place.epoch), train_loss=place.loss_sum / place.seen, train_accuracy=place.right / place.seen
        )
        place.history.append(figures)
        merit = self._merit(figures)
        if merit > place.best or (merit == place.best and figures.loss < place.history[place.best_epoch].loss):
            place.best, place.best_epoch, place.worse = merit, place.epoch, 0
            self._checkpoints.save_best(self.model)
        else:
            place.worse += 1
        if self.settings.average_epochs > 1:
            self._checkpoints.save_epoch(self.model, place.epoch, last=self.settings.average_epochs)
        place.epoch, place.step = place.epoch + 1, 0
        place.loss_sum, place.right, place.seen = 0.0, 0, 0
        place.stopped = bool(self.settings.patience) and place.worse >= self.settings.patience
        self._progress("validate", place.epoch, self.settings.epochs, loss=figures.loss, accuracy=figures.accuracy)
        for call in self._on_epoch:
            call(figures)

    def _merit(self, figures: EpochFigures) -> float:
        by = self.settings.choose_by
        return -figures.loss if by == "loss" else float(getattr(figures, by))

    def _validate(self, epoch: int) -> EpochFigures:
        logits = predict(self.model, self.validation, pad_id=self._pad_id, batch_size=2 * self.settings.batch_size)
        labels = torch.from_numpy(self.validation.labels)
        loss = torch.nn.functional.cross_entropy(torch.from_numpy(logits), labels).item()
        guessed = logits.argmax(axis=1)
        accuracy = float((guessed == self.validation.labels).mean())
        f1 = mean_f1(self.validation.labels, guessed, logits.shape[1])
        return EpochFigures(epoch, 0.0, 0.0, loss, accuracy, f1)

    def _logits(self, part: Encoded, rows: NDArray[np.int64]) -> torch.Tensor:
        ids, mask = pad([part.ids[row] for row in rows], self._pad_id)
        logits: torch.Tensor = self.model(ids.to(self._device), mask.to(self._device))
        return logits

    def _weights(self) -> list[torch.nn.Parameter]:
        return [weight for group in self._groups for weight in group["params"]]

    def _tell(self, place: Place) -> None:
        spent = self._clock() - self._started
        rate = place.updates / spent if spent > 0 else 0.0
        self._progress(
            "train",
            place.updates,
            self._total,
            loss=place.loss_sum / place.seen,
            accuracy=place.right / place.seen,
            eta_s=(self._total - place.updates) / rate if rate else 0.0,
        )

    def _save(self, place: Place) -> None:
        self._saved = self._clock()
        place.seconds = self._saved - self._started
        steering = self._steering.state() if self._steering else None
        self._checkpoints.save(self.model, self._optimiser, place, steering=steering)


def predict(model: torch.nn.Module, part: Encoded, *, pad_id: int, batch_size: int = 64) -> NDArray[np.float32]:
    """Return logits of shape (rows, labels) in the order of `part`, with the model in evaluation mode."""
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    found: list[Any] = [None] * len(part)
    with torch.inference_mode():
        for rows in length_batches([len(row) for row in part.ids], batch_size):
            ids, mask = pad([part.ids[row] for row in rows], pad_id)
            for row, logits in zip(rows, model(ids.to(device), mask.to(device)).float().cpu().numpy(), strict=True):
                found[row] = logits
    model.train(was_training)
    return np.asarray(found, dtype=np.float32)


def rate_share(updates: int, *, total: int, warmup: float) -> float:
    """Return the share of the full learning rate: a rise over the first `warmup` of all updates, then a fall to 0."""
    rise = max(1, int(warmup * total))
    return min((updates + 1) / rise, (total - updates) / max(1, total - rise + 1))


def parameter_groups(model: torch.nn.Module, settings: LoopSettings) -> list[dict[str, Any]]:
    """Return AdamW's groups: the head at its own rate, lower layers at smaller ones, no decay of biases and norms."""
    learning = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    layers = 1 + max((layer_of(name) for name, _ in learning), default=-1)
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, weight in learning:
        new = in_head(name)
        depth = layers - 1 - layer_of(name)  # 0: the top layer; embeddings are below layer 0
        rate = settings.head_learning_rate if new else settings.learning_rate * settings.layer_decay**depth
        decay = 0.0 if new or weight.ndim < 2 else settings.weight_decay
        groups.setdefault((rate, decay), []).append(weight)
    return [{"params": weights, "lr": rate, "weight_decay": decay} for (rate, decay), weights in groups.items()]
