"""The recipe `full`: every weight of the encoder learns, together with a linear head. The most accurate of all."""

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
from mercat.training.loop.unfreezing import Unfreeze
from mercat.training.tracking import Tracker


class Full(TunedRecipe):
    """Fine-tunes the whole body. The artifact brings its own encoder, so an answer costs an encoding of its own.

    `max_tokens` cuts texts in training and in serving alike. `freeze_layers` keeps the embeddings and that many of the
    lowest layers as they are, which saves time. `unfreeze = "gradual"` lets the top layer learn in the first epoch and
    one more in each, so it wants more epochs than the body has layers. `init_head_from_linear` starts from logistic
    regression on the frozen vectors. `adversarial` above 0 trains against embeddings moved by that share of their
    length (FGM), which doubles the time; start small, 0.02. `augment` is how often each row is learned from again,
    written otherwise. `average_epochs` takes the mean of the weights after the
    last epochs, where validation agrees. `patience` counts epochs without a better `choose_by` on validation before the
    run stops; 0 never stops. `tensorboard` writes event files into `tensorboard/NAME` of the workspace. A checkpoint is
    written every `checkpoint_every_s`. `dtype` is what the body multiplies in, its weights being float32: "auto" takes
    bfloat16 where the hardware has it.
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
        learning_rate: float = 2e-4,
        head_learning_rate: float = 5e-3,
        warmup: float = 0.1,
        weight_decay: float = 0.01,
        layer_decay: float = 1.0,
        unfreeze: Unfreeze = "at-once",
        label_smoothing: float = 0.0,
        gradient_clip: float = 1.0,
        adversarial: float = 0.0,
        average_epochs: int = 0,
        class_weight: Literal["balanced"] | None = None,
        augment: int = 0,
        init_head_from_linear: bool = True,
        freeze_layers: int = 0,
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
                layer_decay=layer_decay,
                unfreeze=unfreeze,
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
            freeze_layers=freeze_layers,
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
