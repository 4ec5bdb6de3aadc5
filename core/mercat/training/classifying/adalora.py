"""The recipe `adalora`: low-rank matrices learn, and the rank goes where it matters.

Zhang et al. 2023, https://arxiv.org/abs/2303.10512, by PEFT's allocator.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mercat.encoders.base import Encoder
from mercat.errors import ConfigError
from mercat.training.classifying.beside import PeftRecipe
from mercat.training.classifying.classifier import Calibration
from mercat.training.classifying.shrinking import Shrinking, kept
from mercat.training.data import Split
from mercat.training.loop.precision import Dtype
from mercat.training.loop.settings import Choice
from mercat.training.tracking import Tracker


class AdaLora(PeftRecipe):
    """Fine-tunes matrices in the form of a singular value decomposition beside `targets`, with PEFT, and a linear head.

    Every one starts with `first_rank` singular values. From the share `shrink_from` of all updates to `shrink_until`
    those that matter least, over all layers, are dropped, until `rank` per matrix are left on average: a layer that
    needs more gets more. `orthogonality` weighs the penalty that keeps singular vectors at right angles. An epoch
    before the end of shrinking may be the best on validation; the report says how many values were kept. Raises
    ConfigError for settings out of range. The other parameters are those of `lora`.
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
        rank: int = 6,
        first_rank: int = 9,
        shrink_from: float = 0.1,
        shrink_until: float = 0.6,
        orthogonality: float = 0.1,
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
        if not 1 <= rank < first_rank:
            raise ConfigError(f"rank = {rank}", f"It is below first_rank = {first_rank}", "rank = 6, first_rank = 9")
        if not 0 <= shrink_from < shrink_until < 1:
            found = f"It is a share of the updates, above shrink_from = {shrink_from} and below 1"
            raise ConfigError(f"shrink_until = {shrink_until}", found, "shrink_from = 0.1, shrink_until = 0.6")
        if orthogonality < 0:
            raise ConfigError(f"orthogonality = {orthogonality}", "It is at least 0", "orthogonality = 0.1")
        self.shrink, self.orthogonality = (shrink_from, shrink_until), orthogonality
        self.adapter: dict[str, Any] = {
            "target_r": rank,
            "init_r": first_rank,
            "lora_alpha": alpha,
            "lora_dropout": dropout,
            "target_modules": targets,
        }

    def shape(self) -> Mapping[str, Any]:
        return {**super().shape(), "adapter": self.adapter, "steering": [self.shrink, self.orthogonality]}

    def configuration(self, body: Any) -> Any:
        """Return PEFT's configuration; when to shrink is set when the number of updates is known."""
        from peft import AdaLoraConfig

        return AdaLoraConfig(**self.adapter, exclude_modules=r"pooler.*", total_step=1)

    def steering(self, model: Any, *, updates: int) -> Shrinking:
        """Return what drops singular values. Raises ConfigError for fewer than 3 updates."""
        return Shrinking(model.body.base_model, updates=updates, shrink=self.shrink, orthogonality=self.orthogonality)

    def merged(self, body: Any, folder: Path) -> Any:
        """Write what was learned alone, without dropped singular values, and return the body with it merged in."""
        body.peft_config["default"].rank_pattern = kept(body.base_model)
        with warnings.catch_warnings():  # a matrix that lost all of its values is no damage
            warnings.filterwarnings("ignore", message=".* invalid shape")
            return super().merged(body, folder)
