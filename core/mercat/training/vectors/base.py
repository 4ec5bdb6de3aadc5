"""What `multi-label` and `regression` share: a linear head on the vectors of a body, frozen or fine-tuned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import ArtifactWriter
from mercat.encoders.base import Encoder, Vectors
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError, missing_extra
from mercat.evaluation.base import Metric
from mercat.predictors.vectors import ENCODER, HEAD, ROLE, OnVectors, open_on_vectors
from mercat.training.base import Evaluation, Report, Run
from mercat.training.classifying.classifier import encode_kept, texts_of
from mercat.training.data import Parts, check_shares, unseen_test_rows
from mercat.training.estimating import Estimate, Trial, encoding_seconds, spread, vectors_mb
from mercat.training.publishing import publish
from mercat.training.tracking import Tracker
from mercat.values import Example

try:
    import torch

    from mercat.training.classifying.model import token_ids, tunable
    from mercat.training.loop.checkpoint import Checkpoints
    from mercat.training.loop.pooled import Fitting, PooledModel, Rows, predict
    from mercat.training.loop.running import Telling, details_of, digest_of, seeded
    from mercat.training.loop.settings import LoopSettings
    from mercat.training.loop.tuning import Tuning
    from mercat.training.loop.weights import sizes
except ImportError as error:
    raise missing_extra("This recipe", error.name or "torch", "train") from error

Body = Literal["none", "full", "lora"]
Arrays = tuple[NDArray[np.float32], NDArray[np.float32]]
_TRIED = 500  # rows that a head is fitted on for an estimate
_ALIKE = 0.02  # how far served outputs may lie from those of training, as a share


class Fitted(Protocol):
    """A head that can be saved."""

    @property
    def fingerprint(self) -> str:
        """That of the encoder whose vectors it was fitted on."""
        ...

    def save(self, folder: Path) -> None:
        """Write it into an existing folder."""
        ...


H = TypeVar("H", bound=Fitted)


class Task(ABC, Generic[H]):
    """What is learned from the vectors of texts. `outputs` is how many numbers the head gives for each."""

    outputs: int

    @abstractmethod
    def targets(self, rows: Sequence[Example]) -> NDArray[Any]:
        """Return what the outputs of these rows are held against, in shape (rows,) or (rows, outputs)."""

    @abstractmethod
    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss over the rows; outputs have shape (rows, outputs)."""

    @abstractmethod
    def judge(self, outputs: NDArray[np.float32], targets: NDArray[Any]) -> Mapping[str, float]:
        """Return the figures by which an epoch is chosen."""

    def judged(self, rows: Sequence[Example]) -> Sequence[Example]:
        """Return the validation rows by which anything is chosen; the others are left to calibrate."""
        return rows

    @abstractmethod
    def fitted(
        self, vectors: Vectors, rows: Sequence[Example], *, validation: tuple[Vectors, Sequence[Example]]
    ) -> Arrays:
        """Return the best linear head on vectors as they are: weights (outputs, dimensions) and bias (outputs,)."""

    @abstractmethod
    def head(self, weights: NDArray[np.float32], bias: NDArray[np.float32], fingerprint: str) -> H:
        """Return the head that answers, not calibrated yet."""

    @abstractmethod
    def raw(self, head: H, vectors: Vectors) -> NDArray[np.float32]:
        """Return a head's outputs as the loop saw them, shape (rows, outputs)."""

    @abstractmethod
    def calibrated(self, head: H, vectors: Vectors, rows: Sequence[Example]) -> H:
        """Return the head calibrated on the validation part."""

    @abstractmethod
    def metrics(self, head: H, vectors: Vectors, rows: Sequence[Example]) -> dict[str, Metric]:
        """Return the figures of the finished head on these rows."""

    @abstractmethod
    def details(self, head: H) -> Mapping[str, Any]:
        """Return what the report keeps of the head."""


@dataclass(frozen=True, slots=True)
class _Made:
    """A head with the vectors of the validation part, and what a report says of how they came about."""

    arrays: Arrays
    fingerprint: str
    vectors: Vectors
    counts: Mapping[str, int]
    notes: Sequence[str]
    details: Mapping[str, Any]


class VectorRecipe(ABC, Generic[H]):
    """A head on a frozen, shared body (`adapt` "none"), or on one that learns with it ("full", "lora").

    Raises ConfigError for settings out of range.
    """

    kind = ""
    name = ""

    def __init__(
        self,
        encoder: Encoder,
        *,
        collection: str,
        validation_share: float,
        test_share: float,
        split: Literal["auto", "group", "time"],
        adapt: Body,
        rank: int,
        max_tokens: int,
        settings: LoopSettings,
        device: str,
        tensorboard: bool,
        trackers: Sequence[Tracker],
        seed: int,
        monotonic: Callable[[], float],
    ) -> None:
        check_shares(validation_share=validation_share, test_share=test_share)
        if adapt not in get_args(Body):
            raise ConfigError(f"adapt = '{adapt}'", f"Known: {', '.join(get_args(Body))}", "adapt = 'full'")
        self.encoder, self.collection, self.seed, self.adapt = encoder, collection, seed, adapt
        self.validation_share, self.test_share, self.split = validation_share, test_share, split
        self._monotonic = monotonic
        self.tuning = Tuning(
            settings=settings,
            adapt="lora" if adapt == "lora" else "full",
            rank=rank,
            max_tokens=max_tokens,
            device=device,
            telling=Telling(tensorboard, trackers, monotonic),
        )

    @abstractmethod
    def rows(self, run: Run) -> Parts:
        """Read the collection in its parts."""

    @abstractmethod
    def task(self, parts: Parts) -> Task[H]:
        """Return what is learned from these parts."""

    @abstractmethod
    def load(self, folder: Path) -> H:
        """Return the head saved in a folder."""

    @abstractmethod
    def compared(
        self, task: Task[H], made: OnVectors[H], rows: Sequence[Example], learned_from: Sequence[Example]
    ) -> Evaluation:
        """Return the figures of a finished artifact on `rows`, beside a simple method fitted on `learned_from`."""

    def shape(self) -> Mapping[str, Any]:
        """Return what shapes the result; a checkpoint of another shape is not used."""
        return {**self.tuning.shape(), "recipe": self.name}

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Learn from the train part, choose and calibrate on validation, write head, report and body."""
        started, parts = self._monotonic(), self.rows(run)
        task = self.task(parts)
        made = (self._frozen if self.adapt == "none" else self._tuned)(run, writer.folder, parts, task)
        head = task.calibrated(task.head(*made.arrays, made.fingerprint), made.vectors, parts.validation)
        (writer.folder / HEAD).mkdir()
        head.save(writer.folder / HEAD)
        writer.note("role", ROLE)  # serving must encode texts in the role that the head was fitted with
        report = Report(
            metrics=task.metrics(head, made.vectors, parts.validation),
            counts={**parts.counts, **made.counts},
            seconds=self._monotonic() - started,
            notes=[*parts.notes, *made.notes],
            details={**made.details, **task.details(head)},
        )
        return publish(writer, report, parts, fingerprint=made.fingerprint)

    def estimate(self, run: Run) -> Estimate:
        """Return what `train` would cost: to encode and to fit, and where the body learns the loop."""
        trial, parts = Trial(self._monotonic), self.rows(run)
        task, texts = self.task(parts), texts_of([*parts.train, *parts.validation])
        if self.adapt == "none":
            trial.read()
            trial.stages |= self._fitting(self.encoder, parts, task, trial.clock)
            learned, info = task.outputs * (self.encoder.dimensions + 1), self.encoder.info()
            further_mb = vectors_mb(len(texts), info.dimensions)
            return trial.done(parameters=info.parameters + learned, trainable_parameters=learned, further_mb=further_mb)
        base = tunable(self.encoder, max_tokens=self.tuning.max_tokens)
        body, tokenizer = base.load_for_training()
        model = self._model(run, base, body, parts, task, resumed=True)
        objective = _objective(base, tokenizer, parts, task)
        trial.read()
        trial.stages |= self._fitting(base, parts, task, trial.clock)
        base.close()
        return self.tuning.estimate(trial, model, objective, seed=run.seed, validation=objective.validation.ids)

    def _fitting(self, encoder: Encoder, parts: Parts, task: Task[H], clock: Callable[[], float]) -> dict[str, float]:
        """Return how long it takes to encode all texts and to fit a head on them, from some of both."""
        texts = texts_of([*parts.train, *parts.validation])
        encode = encoding_seconds(encoder, texts, role=ROLE, clock=clock, budget_s=1.0)
        rows = [parts.train[at] for at in spread(len(parts.train), _TRIED)]
        vectors = np.random.default_rng(0).standard_normal((len(rows), encoder.dimensions)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        started = clock()
        task.fitted(vectors, rows, validation=(vectors, rows))
        return {"encode": encode, "fit": (clock() - started) * len(parts.train) / len(rows)}

    def evaluate(self, run: Run, artifact: Path) -> Evaluation:
        """Score a finished artifact on test rows that training never saw, beside TF-IDF and a linear model."""
        parts = self.rows(run)
        rows = unseen_test_rows(parts, artifact)
        made = open_on_vectors(artifact, self.load, encoder=self.encoder)
        run.progress("baseline", 0, 1)
        found = self.compared(self.task(parts), made, rows, [*parts.train, *parts.validation])
        run.progress("baseline", 1, 1)
        return found

    def _frozen(self, run: Run, folder: Path, parts: Parts, task: Task[H]) -> _Made:
        run.world.leave_to_first()
        train, validation = self._vectors(run, self.encoder, parts)
        weights, bias = task.fitted(train, parts.train, validation=_judged(task, validation, parts.validation))
        counts = {
            "parameters": self.encoder.info().parameters,
            "trainable_parameters": weights.size + bias.size,
        }
        return _Made((weights, bias), self.encoder.fingerprint, validation, counts, (), {})

    def _tuned(self, run: Run, folder: Path, parts: Parts, task: Task[H]) -> _Made:
        base = tunable(self.encoder, max_tokens=self.tuning.max_tokens)
        body, tokenizer = base.load_for_training()
        checkpoints = Checkpoints(run.scratch, digest_of(self.shape(), parts.digest, base.fingerprint, run.seed))
        model = self._model(run, base, body, parts, task, resumed=checkpoints.ready)
        objective = _objective(base, tokenizer, parts, task)
        outcome = self.tuning.fit(run, model, objective, checkpoints)
        outputs = predict(model, objective.validation, pad_id=base.checkpoint.pad_id)
        counts, arrays = sizes(model), model.head_arrays()
        base.save_body(self.tuning.merged(model.body, folder).cpu(), tokenizer, folder / ENCODER)
        served = Transformer.from_folder(folder / ENCODER, dtype="float32")  # as it learned
        vectors = served.encode(texts_of(parts.validation), role=ROLE)
        again = _judged(task, vectors, parts.validation)[0]
        difference = _difference(task.raw(task.head(*arrays, served.fingerprint), again), outputs)
        served.close()
        return _Made(
            arrays,
            served.fingerprint,
            vectors,
            {"updates": outcome.updates, **counts},
            self.tuning.notes(run, outcome),
            {**details_of(outcome), "serving_difference": difference},
        )

    def _model(
        self, run: Run, base: Transformer, body: Any, parts: Parts, task: Task[H], *, resumed: bool
    ) -> PooledModel:
        """Return body and head as they are before the first update: the head is fitted on the body as it is."""
        adapted = self.tuning.adapted(body, seed=run.seed)
        with seeded(run.seed):
            model = PooledModel(
                adapted,
                pooling=base.pooling,
                dimensions=base.dimensions,
                outputs=task.outputs,
                unit=True,
                dropout=0.0,
            )
        if not resumed and run.world.first:
            train, validation = self._vectors(run, base, parts)
            base.close()
            model.start_from(*task.fitted(train, parts.train, validation=_judged(task, validation, parts.validation)))
        self.tuning.place(run, model)
        return model

    def _vectors(self, run: Run, encoder: Encoder, parts: Parts) -> tuple[Vectors, Vectors]:
        train, validation = (
            encode_kept(encoder, texts_of(rows), folder=run.scratch, name=name, progress=run.progress)
            for name, rows in (("train", parts.train), ("validation", parts.validation))
        )
        return train, validation


def _objective(base: Transformer, tokenizer: Any, parts: Parts, task: Task[Any]) -> Fitting:
    """Return what the loop learns."""
    train, validation = (
        Rows(token_ids(base, tokenizer, texts_of(rows), role=ROLE), task.targets(rows))
        for rows in (parts.train, task.judged(parts.validation))
    )
    return Fitting(train, validation, pad_id=base.checkpoint.pad_id, loss=task.loss, judge=task.judge)


def _judged(task: Task[Any], vectors: Vectors, rows: Sequence[Example]) -> tuple[Vectors, Sequence[Example]]:
    """Return the vectors and rows by which anything is chosen."""
    kept = task.judged(rows)
    wanted = {row.id for row in kept}
    return vectors[[at for at, row in enumerate(rows) if row.id in wanted]], kept


def _difference(served: NDArray[np.float32], trained: NDArray[np.float32]) -> float:
    """Return how far served outputs lie from those of training. Raises ArtifactError if they are others."""
    found = float((np.abs(served - trained) / (1 + np.abs(trained))).max())
    if not found <= _ALIKE:
        raise ArtifactError(
            "What was saved must answer as what was trained",
            f"Its outputs differ by up to {found:.1%}",
            "device = 'cpu', and report this model",
        )
    return found
