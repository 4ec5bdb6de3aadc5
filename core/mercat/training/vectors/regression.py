"""The recipe `regression`: a number read off a text, with an interval that holds what it promises."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.encoders.base import Encoder, Vectors
from mercat.errors import ConfigError, missing_extra
from mercat.evaluation.base import Metric
from mercat.evaluation.bootstrap import interval
from mercat.evaluation.numbers import regression, regression_differences, spearman
from mercat.heads.numbers import NumberHead
from mercat.predictors.vectors import OnVectors
from mercat.training.base import Evaluation, Run
from mercat.training.classifying.classifier import texts_of
from mercat.training.compare import defined
from mercat.training.data import Parts, part_examples, read_examples, single_texts
from mercat.training.loop.precision import Dtype
from mercat.training.loop.settings import LoopSettings
from mercat.training.numbers import numbers_of, require_spread
from mercat.training.tracking import Tracker
from mercat.training.vectors.base import Arrays, Body, Task, VectorRecipe
from mercat.values import Example

Loss = Literal["huber", "mse"]
_PENALTIES = (0.01, 0.1, 1.0, 10.0)  # of ridge regression on unit vectors, tried on validation rows
_HALVES = 40  # validation rows from which on one half chooses and the other calibrates


class Regression(VectorRecipe[NumberHead]):
    """Learns the number that is a row's label, such as a rating or a price, with a linear head on the text's vector.

    `loss` "huber" is less moved by rows far off than "mse" is. `adapt` "none" keeps the body frozen and shared (ridge
    regression), "full" fine-tunes it, "lora" learns matrices of `rank` beside it; `loss` and the settings after `rank`
    are for these two. `coverage` is the share of true numbers that the interval around an answer is to hold (split
    conformal): half of the validation rows choose everything else, the other half sets its width. Raises ConfigError
    for settings out of range.
    """

    kind = "regressor"
    name = "regression"
    shared = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        collection: str,
        validation_share: float = 0.1,
        test_share: float = 0.1,
        split: Literal["auto", "group", "time"] = "auto",
        coverage: float = 0.9,
        adapt: Body = "none",
        rank: int = 16,
        loss: Loss = "huber",
        max_tokens: int = 128,
        epochs: int = 3,
        batch_size: int = 32,
        learning_rate: float = 2e-4,
        head_learning_rate: float = 5e-3,
        warmup: float = 0.1,
        weight_decay: float = 0.01,
        layer_decay: float = 1.0,
        gradient_clip: float = 1.0,
        adversarial: float = 0.0,
        average_epochs: int = 0,
        patience: int = 0,
        choose_by: Literal["mse", "spearman", "loss"] = "mse",
        checkpoint_every_s: float = 60.0,
        device: str = "auto",
        dtype: Dtype = "auto",
        tensorboard: bool = False,
        trackers: Sequence[Tracker] = (),
        seed: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < coverage < 1:
            raise ConfigError(f"coverage = {coverage}", "It is a share, above 0 and below 1", "coverage = 0.9")
        if loss not in get_args(Loss):
            raise ConfigError(f"loss = '{loss}'", f"Known: {', '.join(get_args(Loss))}", "loss = 'huber'")
        super().__init__(
            encoder,
            collection=collection,
            validation_share=validation_share,
            test_share=test_share,
            split=split,
            adapt=adapt,
            rank=rank,
            max_tokens=max_tokens,
            settings=LoopSettings(
                epochs=epochs,
                batch_size=batch_size,
                learning_rate=learning_rate,
                head_learning_rate=head_learning_rate,
                warmup=warmup,
                weight_decay=weight_decay,
                layer_decay=layer_decay,
                gradient_clip=gradient_clip,
                adversarial=adversarial,
                average_epochs=average_epochs,
                patience=patience,
                choose_by=choose_by,
                checkpoint_every_s=checkpoint_every_s,
                dtype=dtype,
            ),
            device=device,
            tensorboard=tensorboard,
            trackers=trackers,
            seed=seed,
            monotonic=monotonic,
        )
        self.coverage, self.loss = coverage, loss

    def shape(self) -> Mapping[str, Any]:
        """Return what shapes the result; a checkpoint of another shape is not used."""
        return {**super().shape(), "loss": self.loss}

    def rows(self, run: Run) -> Parts:
        """Read the collection in its parts. Raises DataError for labels that are no numbers, or all the same."""
        rows = single_texts(read_examples(run.store, self.collection), self.collection)
        numbers_of(rows)  # a label that is none is told with its row, before anything is parted
        parts = part_examples(
            rows,
            self.collection,
            labels_of=lambda row: (),
            by_label=False,
            validation_share=self.validation_share,
            test_share=self.test_share,
            split=self.split,
            least=0,
        )
        require_spread(numbers_of(parts.train), self.collection)
        return parts

    def task(self, parts: Parts) -> NumberTask:
        """Return the numbers to learn, in units of their spread in the train part."""
        numbers = numbers_of(parts.train)
        spread = float(numbers.std())
        return NumberTask(float(numbers.mean()), spread, loss=self.loss, coverage=self.coverage)

    def load(self, folder: Path) -> NumberHead:
        """Return the head saved in a folder."""
        return NumberHead.load(folder)

    def compared(
        self,
        task: Task[NumberHead],
        made: OnVectors[NumberHead],
        rows: Sequence[Example],
        learned_from: Sequence[Example],
    ) -> Evaluation:
        """Return the figures beside those of TF-IDF and ridge regression; interval_coverage is of the test rows."""
        try:
            from mercat.evaluation.baselines import TfidfRidge
        except ModuleNotFoundError as error:
            raise missing_extra("The baseline of an evaluation", error.name or "scikit-learn", "train") from error
        simple = TfidfRidge().fit(texts_of(learned_from), numbers_of(learned_from)).values(texts_of(rows))
        true, vectors = numbers_of(rows), made.vectors(texts_of(rows))
        found = made.head.values(vectors)
        held = (np.abs(found - true) <= made.head.margin).astype(float)
        promised = f"{made.head.coverage:.0%} of true numbers within {made.head.margin:.4g} of the answer were promised"
        return Evaluation(
            metrics={**defined(regression(true, found)), "interval_coverage": interval(held)},
            baseline=TfidfRidge.name,
            baseline_metrics=defined(regression(true, simple)),
            differences=defined(regression_differences(true, found, simple)),
            counts={"test": len(rows)},
            notes=(promised,),
        )


class NumberTask(Task[NumberHead]):
    """To learn numbers in units of `scale` around `mean`."""

    outputs = 1

    def __init__(self, mean: float, scale: float, *, loss: Loss, coverage: float) -> None:
        self.mean, self.scale, self._loss, self._coverage = mean, scale, loss, coverage

    def targets(self, rows: Sequence[Example]) -> NDArray[Any]:
        """Return the numbers of rows in those units, shape (rows,)."""
        return np.asarray((numbers_of(rows) - self.mean) / self.scale, dtype=np.float32)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return Huber's loss, or the mean squared error."""
        if self._loss == "huber":
            return torch.nn.functional.huber_loss(outputs[:, 0], targets)
        return torch.nn.functional.mse_loss(outputs[:, 0], targets)

    def judge(self, outputs: NDArray[np.float32], targets: NDArray[Any]) -> Mapping[str, float]:
        """Return the squared error in those units, and Spearman's correlation."""
        error = float(((outputs[:, 0] - targets) ** 2).mean())
        return {"mse": error, "spearman": spearman(targets, outputs[:, 0])}

    def judged(self, rows: Sequence[Example]) -> Sequence[Example]:
        """Return every other row where there are many; the others calibrate the interval."""
        return rows[::2] if len(rows) >= _HALVES else rows

    def fitted(
        self, vectors: Vectors, rows: Sequence[Example], *, validation: tuple[Vectors, Sequence[Example]]
    ) -> Arrays:
        """Return ridge regression with the penalty that does best on validation rows."""
        targets, wanted = self.targets(rows), self.targets(validation[1])
        tried = [_ridge(vectors, targets, penalty) for penalty in _PENALTIES]

        def error(arrays: Arrays) -> float:
            return float(((validation[0] @ arrays[0][0] + arrays[1][0] - wanted) ** 2).mean())

        return min(tried, key=error)

    def head(self, weights: NDArray[np.float32], bias: NDArray[np.float32], fingerprint: str) -> NumberHead:
        """Return the head without an interval."""
        return NumberHead(weights[0], float(bias[0]), fingerprint, mean=self.mean, scale=self.scale)

    def raw(self, head: NumberHead, vectors: Vectors) -> NDArray[np.float32]:
        """Return values in those units, shape (rows, 1)."""
        return ((head.values(vectors) - self.mean) / self.scale)[:, None]

    def calibrated(self, head: NumberHead, vectors: Vectors, rows: Sequence[Example]) -> NumberHead:
        """Return the head with the interval by the rows that chose nothing, or by all where they are few."""
        kept = slice(1, None, 2) if len(rows) >= _HALVES else slice(None)
        return head.calibrated(head.values(vectors[kept]), numbers_of(rows[kept]), coverage=self._coverage)

    def metrics(self, head: NumberHead, vectors: Vectors, rows: Sequence[Example]) -> dict[str, Metric]:
        """Return the figures of all validation rows."""
        return defined(regression(numbers_of(rows), head.values(vectors)))

    def details(self, head: NumberHead) -> Mapping[str, Any]:
        """Return the interval; None where too few rows could promise one."""
        margin = head.margin if np.isfinite(head.margin) else None
        return {"interval": margin, "coverage": head.coverage}


def _ridge(vectors: Vectors, targets: NDArray[np.float32], penalty: float) -> Arrays:
    """Return weights of shape (1, dimensions) and bias (1,) of least squares with a penalty on the weights."""
    rows, mean, level = vectors.astype(np.float64), vectors.mean(axis=0), float(targets.mean())
    centred = rows - mean
    matrix = centred.T @ centred + penalty * np.eye(vectors.shape[1])
    weights = np.linalg.solve(matrix, centred.T @ (targets - level))
    bias = level - float(mean @ weights)
    return weights[None].astype(np.float32), np.array([bias], dtype=np.float32)
