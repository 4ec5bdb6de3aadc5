"""The recipe `lora`: low-rank adapters learn beside frozen weights (Hu et al. 2021) and are merged at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from mercat.encoders.base import Encoder
from mercat.training.classifying.beside import PeftRecipe
from mercat.training.classifying.classifier import Calibration
from mercat.training.data import Split
from mercat.training.loop.precision import Dtype
from mercat.training.loop.settings import Choice
from mercat.training.tracking import Tracker


class Lora(PeftRecipe):
    """Fine-tunes adapters of rank `rank` in `targets` ("all-linear", or names such as query and value), with PEFT.

    Serving costs what `full` costs, because the adapters are merged; alone, in `adapter/`, they are small enough to
    keep one per customer. Checkpoints are small too. The other parameters are those of `full`.
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
        rank: int = 16,
        alpha: float = 32.0,
        dropout: float = 0.05,
        targets: str | Sequence[str] = "all-linear",
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
        self.adapter: dict[str, Any] = {
            "r": rank,
            "lora_alpha": alpha,
            "lora_dropout": dropout,
            "target_modules": targets,
        }

    def shape(self) -> Mapping[str, Any]:
        return {**super().shape(), "adapter": self.adapter}

    def configuration(self, body: Any) -> Any:
        """Return PEFT's configuration: adapters beside `targets`, but not in an unused pooler."""
        from peft import LoraConfig

        return LoraConfig(**self.adapter, exclude_modules=r"pooler.*")
