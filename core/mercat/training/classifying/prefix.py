"""The recipe `prefix`: keys and values that every token also attends to learn in each layer, and nothing else.

Li and Liang 2021, https://arxiv.org/abs/2101.00190, without their network that makes the prefix, as Liu et al. 2022,
https://arxiv.org/abs/2110.07602.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from mercat.encoders.adapters import adapters_of
from mercat.encoders.base import Encoder
from mercat.encoders.prefixes import insert_prefixes
from mercat.errors import ConfigError
from mercat.training.classifying.classifier import Calibration
from mercat.training.classifying.partial import PartialRecipe
from mercat.training.data import Split
from mercat.training.loop.precision import Dtype
from mercat.training.loop.settings import Choice
from mercat.training.tracking import Tracker


class Prefix(PartialRecipe):
    """Fine-tunes `vectors` keys and as many values in each layer of the body, together with a linear head.

    They take no room among the tokens of a text: 0.2 % of a MiniLM by default. They cannot be merged; the artifact's
    encoder keeps them in `encoder/adapters.safetensors`, and its body is refused without them. For encoders of BERT's
    family; raises ConfigError, before training, for another one, for one with adapters or prefixes, and for no vectors.
    The other parameters are those of `full`.
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
        vectors: int = 10,
        max_tokens: int = 128,
        epochs: int = 3,
        batch_size: int = 32,
        learning_rate: float = 5e-3,
        head_learning_rate: float = 5e-3,
        warmup: float = 0.1,
        weight_decay: float = 0.0,
        label_smoothing: float = 0.0,
        gradient_clip: float = 1.0,
        adversarial: float = 0.0,
        average_epochs: int = 0,
        class_weight: Literal["balanced"] | None = None,
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
        if vectors < 1:
            raise ConfigError(f"vectors = {vectors}", "It is at least 1", "vectors = 10")
        self.vectors = vectors

    def shape(self) -> Mapping[str, Any]:
        return {**super().shape(), "vectors": self.vectors}

    def adapted(self, body: Any) -> Any:
        """Return the body with its weights frozen and new prefixes in its layers. Raises ConfigError if it has some."""
        if adapters_of(body):
            raise ConfigError("New prefixes for an encoder", "It has adapters or prefixes", "use = 'full'")
        body.requires_grad_(False)
        for weight in insert_prefixes(body, count=self.vectors):
            weight.requires_grad_(True)
        return body
