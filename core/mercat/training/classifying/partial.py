"""What the recipes share that leave most of the encoder's weights as they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

from mercat.encoders.base import Encoder
from mercat.training.classifying.classifier import Calibration
from mercat.training.classifying.tuned import TunedRecipe
from mercat.training.data import Split
from mercat.training.loop.precision import Dtype
from mercat.training.loop.settings import Choice, LoopSettings
from mercat.training.tracking import Tracker


class PartialRecipe(TunedRecipe):
    """Fine-tunes a small part of the body, or a little beside it, with a linear head. Checkpoints are small too.

    The parameters are those of `full`; rates are larger, because few weights have to do the work of all. Raises
    ConfigError for settings out of range.
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
        max_tokens: int = 128,
        epochs: int = 3,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        head_learning_rate: float = 5e-3,
        warmup: float = 0.1,
        weight_decay: float = 0.0,
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
        super().__init__(
            encoder,
            settings=LoopSettings(
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
                patience=patience,
                choose_by=choose_by,
                checkpoint_every_s=checkpoint_every_s,
                dtype=dtype,
            ),
            max_tokens=max_tokens,
            class_weight=class_weight,
            augment=augment,
            init_head_from_linear=init_head_from_linear,
            freeze_layers=0,
            device=device,
            tensorboard=tensorboard,
            trackers=trackers,
            monotonic=monotonic,
            collection=collection,
            validation_share=validation_share,
            test_share=test_share,
            split=split,
            calibration=calibration,
            target_error=target_error,
            seed=seed,
        )
