"""The recipe `prune`: half of the weights of the linear layers become 0 while the rest learns to do without them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from mercat.encoders.base import Encoder
from mercat.errors import ConfigError
from mercat.training.classifying.classifier import Calibration
from mercat.training.classifying.full import Full
from mercat.training.classifying.model import PooledClassifier
from mercat.training.data import Split
from mercat.training.loop.precision import Dtype
from mercat.training.loop.settings import Choice
from mercat.training.smaller.pruning import Pruning
from mercat.training.tracking import Tracker


class Prune(Full):
    """Fine-tunes the whole body and lets the share `amount` of the weights of each linear layer become 0.

    From the share `prune_from` of all updates to `prune_until` the smallest weights are taken away, more and more
    slowly; epochs that end before that are no candidates for the best one. The artifact's weights hold exactly that
    share of zeros, stored and multiplied like other numbers: serving is no faster and the folder no smaller than with
    `full`. Prune to learn how many weights a task needs, or for a runtime of your own that skips zeros; to be smaller
    and faster here, take `distill` with fewer layers, or `quantise`. Raises ConfigError for settings out of range. The
    other parameters are those of `full`.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        collection: str,
        validation_share: float = 0.1,
        test_share: float = 0.1,
        split: Split = "auto",
        calibration: Calibration = "temperature",
        target_error: float | None = None,
        amount: float = 0.5,
        prune_from: float = 0.1,
        prune_until: float = 0.6,
        max_tokens: int = 128,
        epochs: int = 4,
        batch_size: int = 32,
        learning_rate: float = 2e-4,
        head_learning_rate: float = 5e-3,
        warmup: float = 0.1,
        weight_decay: float = 0.01,
        label_smoothing: float = 0.0,
        gradient_clip: float = 1.0,
        adversarial: float = 0.0,
        average_epochs: int = 0,
        class_weight: Literal["balanced"] | None = None,
        augment: int = 0,
        init_head_from_linear: bool = True,
        patience: int = 0,
        choose_by: Choice = "accuracy",
        checkpoint_every_s: float = 60.0,
        device: str = "auto",
        dtype: Dtype = "auto",
        tensorboard: bool = False,
        trackers: Sequence[Tracker] = (),
        seed: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < amount < 1:
            found = "It is a share of the weights of linear layers, above 0 and below 1"
            raise ConfigError(f"amount = {amount}", found, "amount = 0.5")
        if not 0 <= prune_from < prune_until < 1:
            found = f"It is a share of the updates, above prune_from = {prune_from} and below 1"
            raise ConfigError(f"prune_until = {prune_until}", found, "prune_from = 0.1, prune_until = 0.6")
        super().__init__(
            encoder,
            collection=collection,
            validation_share=validation_share,
            test_share=test_share,
            split=split,
            calibration=calibration,
            target_error=target_error,
            max_tokens=max_tokens,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            head_learning_rate=head_learning_rate,
            warmup=warmup,
            weight_decay=weight_decay,
            label_smoothing=label_smoothing,
            gradient_clip=gradient_clip,
            adversarial=adversarial,
            average_epochs=average_epochs,
            class_weight=class_weight,
            augment=augment,
            init_head_from_linear=init_head_from_linear,
            patience=patience,
            choose_by=choose_by,
            checkpoint_every_s=checkpoint_every_s,
            dtype=dtype,
            device=device,
            tensorboard=tensorboard,
            trackers=trackers,
            seed=seed,
            monotonic=monotonic,
        )
        self.amount, self.ramp = amount, (prune_from, prune_until)

    def shape(self) -> Mapping[str, Any]:
        return {**super().shape(), "prune": [self.amount, *self.ramp]}

    def steering(self, model: PooledClassifier, *, updates: int) -> Pruning:
        """Return what takes weights away. Raises ConfigError for a body without linear layers."""
        return Pruning(model.body, amount=self.amount, ramp=self.ramp, updates=updates)
