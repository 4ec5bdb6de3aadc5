"""The recipe `adapter`: bottleneck adapters learn between frozen layers, and are served there.

Houlsby et al. 2019, https://arxiv.org/abs/1902.00751, and Pfeiffer et al. 2020, https://arxiv.org/abs/2005.00247.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from mercat.encoders.adapters import Placement, insert
from mercat.encoders.base import Encoder
from mercat.errors import ConfigError
from mercat.training.classifying.classifier import Calibration
from mercat.training.classifying.partial import PartialRecipe
from mercat.training.data import Split
from mercat.training.loop.precision import Dtype
from mercat.training.loop.settings import Choice
from mercat.training.tracking import Tracker


class Adapter(PartialRecipe):
    """Fine-tunes adapters of 1/`reduction` of the body's dimensions in each layer, together with a linear head.

    `placement`: "houlsby" after attention and after the feed-forward part, "pfeiffer" after the latter alone; 1 % and
    0.5 % of a MiniLM. New adapters change nothing. Adapters have a curve in them and cannot be merged, so serving costs
    a little more than with `full`; the artifact's encoder keeps them in `encoder/adapters.safetensors`, and its body is
    refused without them. For the families of BERT, DistilBERT and MPNet; raises ConfigError, before training, for a
    body whose layers have other names. The other parameters are those of `full`.
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
        placement: Placement = "houlsby",
        reduction: int = 16,
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
        if reduction < 1:
            raise ConfigError(f"reduction = {reduction}", "It is at least 1", "reduction = 16")
        self.placement, self.reduction = placement, reduction

    def shape(self) -> Mapping[str, Any]:
        return {**super().shape(), "adapter": [self.placement, self.reduction]}

    def adapted(self, body: Any) -> Any:
        """Return the body with its weights frozen and new adapters in its layers."""
        body.requires_grad_(False)
        for weight in insert(body, placement=self.placement, reduction=self.reduction):
            weight.requires_grad_(True)
        return body
