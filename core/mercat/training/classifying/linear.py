"""The recipe `linear`: the encoder stays as it is, logistic regression learns on its vectors. Seconds to minutes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Literal

from mercat.artifacts import ArtifactWriter
from mercat.encoders.base import Encoder
from mercat.errors import ConfigError
from mercat.heads import LinearHead, Remembered
from mercat.training.base import Report, Run
from mercat.training.classifying.classifier import (
    ROLE,
    Calibration,
    ClassifierRecipe,
    encode_kept,
    finish,
    labels_of,
    texts_of,
)
from mercat.training.classifying.remembering import HeadSettings
from mercat.training.data import Split
from mercat.training.estimating import Estimate, Trial, encoding_seconds, fitting_seconds, vectors_mb


class Linear(ClassifierRecipe):
    """Multinomial logistic regression on the frozen encoder's vectors.

    The body stays shared with everything else that uses the encoder, so an answer costs one encoding for all heads.
    `strength` is C, the inverse of the L2 penalty; "auto" takes the best of a grid on the validation part.
    `class_weight = "balanced"` makes rare labels count as much as frequent ones. `memory` above 0 lets the `neighbours`
    nearest train rows have that share of the say, or with `remember = "prototypes"` the mean of each label's rows;
    "auto" takes the share that does best on the validation part. Raises ConfigError for a strength that is not above 0,
    or a memory out of range.
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
        strength: float | Literal["auto"] = "auto",
        class_weight: Literal["balanced"] | None = None,
        memory: float | Literal["auto"] = 0.0,
        neighbours: int = 20,
        remember: Remembered = "rows",
        seed: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if strength != "auto" and not 0 < strength < math.inf:
            raise ConfigError(f"strength = {strength}", "It is a number above 0", 'strength = 1.0, or "auto"')
        super().__init__(
            encoder,
            collection=collection,
            validation_share=validation_share,
            test_share=test_share,
            split=split,
            calibration=calibration,
            target_error=target_error,
            seed=seed,
        )
        self._monotonic = monotonic
        self.head = HeadSettings(calibration, target_error, strength, class_weight, memory, neighbours, remember)

    def estimate(self, run: Run) -> Estimate:
        """Return what `train` would cost, nearly all of which is encoding, from encoding some of its texts."""
        trial, parts = Trial(self._monotonic), self.parts(run)
        trial.read()
        info, texts, labels = self.encoder.info(), texts_of([*parts.train, *parts.validation]), len(parts.labels)
        trial.stages["encode"] = encoding_seconds(self.encoder, texts, role=ROLE, clock=trial.clock)
        grid = self.head.strength == "auto"
        trial.stages["fit"] = fitting_seconds(len(parts.train), info.dimensions, labels, grid=grid, clock=trial.clock)
        learned = labels * (info.dimensions + 1)
        return trial.done(
            parameters=info.parameters + learned,
            trainable_parameters=learned,
            further_mb=vectors_mb(len(texts), info.dimensions),
        )

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Encode train and validation rows, fit the head, calibrate it on validation rows, write both."""
        started, parts = self._monotonic(), self.parts(run)
        train, validation = (
            encode_kept(self.encoder, texts_of(rows), folder=run.scratch, name=name, progress=run.progress)
            for name, rows in (("train", parts.train), ("validation", parts.validation))
        )
        run.progress("fit", 0, 1)
        head, chosen = self.head.fit(
            (train, labels_of(parts.train)),
            validation=(validation, labels_of(parts.validation)),
            fingerprint=self.encoder.fingerprint,
            seed=run.seed,
        )
        run.progress("fit", 1, 1)
        linear = head if isinstance(head, LinearHead) else head.linear
        return finish(
            writer,
            head,
            parts,
            validation_vectors=validation,
            seconds=self._monotonic() - started,
            counts={
                "parameters": self.encoder.info().parameters,
                "trainable_parameters": linear.weights.size + linear.bias.size,
            },
            notes=(),
            details=chosen,
        )
