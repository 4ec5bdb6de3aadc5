"""The recipe `pairs`: a body that reads two texts at once, and says how they belong together (a cross-encoder)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import ArtifactWriter
from mercat.encoders.base import Encoder, Vectors
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError, DataError, missing_extra
from mercat.heads import LinearHead, softmax
from mercat.heads.numbers import NumberHead
from mercat.predictors.matcher import ENCODER, HEAD, PairScorer, pieces_of, save_positive
from mercat.predictors.pair_pieces import PairPieces
from mercat.training.base import Evaluation, Report, Run
from mercat.training.data import (
    Parts,
    check_shares,
    part_examples,
    read_examples,
    unseen_test_rows,
    without_single_labels,
)
from mercat.training.estimating import Estimate, Trial
from mercat.training.numbers import numbers_of, require_spread
from mercat.training.pairing.cosine import cosines
from mercat.training.pairing.figures import labels_compared, numbers_compared, pair_metrics
from mercat.training.publishing import publish
from mercat.training.tracking import Tracker
from mercat.values import Example

try:
    from mercat.training.classifying.model import tunable
    from mercat.training.loop.checkpoint import Checkpoints
    from mercat.training.loop.pooled import Fitting, PooledModel, Rows, predict
    from mercat.training.loop.precision import Dtype
    from mercat.training.loop.running import Telling, details_of, digest_of, seeded
    from mercat.training.loop.settings import LoopSettings
    from mercat.training.loop.tuning import Adapt, Tuning
    from mercat.training.loop.weights import sizes
    from mercat.training.pairing.task import Task, positive_of
except ImportError as error:
    raise missing_extra("Fine-tuning", error.name or "torch", "train") from error

Target = Literal["labels", "numbers"]
_ALIKE = 0.02  # how far served outputs may lie from those of training, in any number format


class Pairs:
    """Fine-tunes a body that reads `text` and `text_pair` of a row as one sequence, [CLS] a [SEP] b [SEP].

    `target` "labels" learns the row's label, "numbers" the label as a number, such as a rating of how alike two texts
    are. `positive` is the label of texts that belong together: a reranker sorts by its probability. Without it a usual
    word for yes among the labels is taken, or of two labels the last. `adapt` "lora" learns matrices of `rank` beside
    frozen weights. `choose_by` "auto" is accuracy, or for numbers Spearman's correlation. Labels are calibrated by a
    temperature. Raises ConfigError for settings out of range.
    """

    kind = "matcher"
    shared = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        collection: str,
        target: Target = "labels",
        positive: str = "",
        validation_share: float = 0.1,
        test_share: float = 0.1,
        split: Literal["auto", "group", "time"] = "auto",
        adapt: Adapt = "full",
        rank: int = 16,
        max_tokens: int = 128,
        epochs: int = 3,
        batch_size: int = 32,
        learning_rate: float = 2e-4,
        head_learning_rate: float = 2e-3,
        warmup: float = 0.1,
        weight_decay: float = 0.01,
        layer_decay: float = 1.0,
        gradient_clip: float = 1.0,
        adversarial: float = 0.0,
        average_epochs: int = 0,
        patience: int = 0,
        choose_by: Literal["auto", "accuracy", "macro_f1", "spearman", "loss"] = "auto",
        checkpoint_every_s: float = 60.0,
        device: str = "auto",
        dtype: Dtype = "auto",
        tensorboard: bool = False,
        trackers: Sequence[Tracker] = (),
        seed: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        check_shares(validation_share=validation_share, test_share=test_share)
        if target not in get_args(Target):
            raise ConfigError(f"target = '{target}'", f"Known: {', '.join(get_args(Target))}", "target = 'labels'")
        if positive and target == "numbers":
            found = "Numbers have no positive label"
            raise ConfigError(f"positive = '{positive}'", found, "target = 'labels', or no positive")
        self.encoder, self.collection, self.seed = encoder, collection, seed
        self.target, self.positive, self._monotonic = target, positive, monotonic
        self.validation_share, self.test_share, self.split = validation_share, test_share, split
        usual = "accuracy" if target == "labels" else "spearman"
        self.tuning = Tuning(
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
                choose_by=usual if choose_by == "auto" else choose_by,
                checkpoint_every_s=checkpoint_every_s,
                dtype=dtype,
            ),
            adapt=adapt,
            rank=rank,
            max_tokens=max_tokens,
            device=device,
            telling=Telling(tensorboard, trackers, monotonic),
        )

    def shape(self) -> Mapping[str, Any]:
        """Return what shapes the result; a checkpoint of another shape is not used."""
        return {**self.tuning.shape(), "recipe": "pairs", "target": self.target}

    def rows(self, run: Run) -> Parts:
        """Read the collection in its parts. Raises DataError for rows that are no pairs."""
        read = read_examples(run.store, self.collection)
        rows = [row for row in read if row.text.strip() and row.text_pair.strip() and row.label]
        if not rows:
            asked = f"Pairs are learned from rows with two texts, in the collection '{self.collection}'"
            raise DataError(asked, f"None of its {len(read)} rows has a text_pair and a label", "columns.text_pair")
        notes = [f"{left} rows without a second text were left out"] if (left := len(read) - len(rows)) else []
        labelled = self.target == "labels"
        if labelled:
            rows, single = without_single_labels(rows)
            notes += single
        return part_examples(
            rows,
            self.collection,
            labels_of=lambda row: (row.label,) if labelled else (),
            by_label=labelled,
            validation_share=self.validation_share,
            test_share=self.test_share,
            split=self.split,
            least=2 if labelled else 0,
            notes=notes,
        )

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Fine-tune on the train part, keep the epoch that does best on validation, write body, head and report."""
        started, parts = self._monotonic(), self.rows(run)
        task = self._task(parts)
        base, tokenizer, model, objective = self._ready(run, parts, task)
        known = _known(parts, task)
        checkpoints = Checkpoints(run.scratch, digest_of(self.shape(), parts.digest, base.fingerprint, run.seed))
        outcome = self.tuning.fit(run, model, objective, checkpoints)
        outputs, counts = predict(model, objective.validation, pad_id=base.checkpoint.pad_id), sizes(model)
        scorer, vectors = self._saved(writer.folder, base, tokenizer, model, task, parts.validation)
        difference = _difference(scorer, vectors[known], outputs, task)
        metrics = pair_metrics(scorer, vectors, parts.validation)
        report = Report(
            metrics=metrics,
            counts={**parts.counts, "updates": outcome.updates, **counts},
            seconds=self._monotonic() - started,
            notes=[*parts.notes, *self.tuning.notes(run, outcome)],
            details={**details_of(outcome), "positive": task.positive, "serving_difference": difference},
        )
        return publish(writer, report, parts, fingerprint=scorer.head.fingerprint)

    def estimate(self, run: Run) -> Estimate:
        """Return what `train` would cost, from some updates on a model that is thrown away."""
        trial, parts = Trial(self._monotonic), self.rows(run)
        _, _, model, objective = self._ready(run, parts, self._task(parts))
        trial.read()
        return self.tuning.estimate(trial, model, objective, seed=run.seed, validation=objective.validation.ids)

    def evaluate(self, run: Run, artifact: Path) -> Evaluation:
        """Score a finished artifact on test rows that training never saw, beside the cosine of the encoder as it is."""
        parts, scorer = self.rows(run), PairScorer(artifact)
        rows, learned_from = unseen_test_rows(parts, artifact), [*parts.train, *parts.validation]
        run.progress("baseline", 0, 1)
        seen, asked = cosines(self.encoder, learned_from), cosines(self.encoder, rows)
        run.progress("baseline", 1, 1)
        vectors = scorer.vectors(_texts(rows))
        left_out = len(parts.test) - len(rows)
        compared = labels_compared if scorer.labels else numbers_compared
        baseline, theirs, between = compared(scorer, vectors, rows, learned_from, seen, asked)
        return Evaluation(
            metrics=pair_metrics(scorer, vectors, rows),
            baseline=baseline,
            baseline_metrics=theirs,
            differences=between,
            counts={"test": len(rows), "left_out_as_seen": left_out},
            notes=[f"{left_out} test rows were left out because training had seen them"] if left_out else (),
        )

    def _task(self, parts: Parts) -> Task:
        if self.target == "numbers":
            numbers = numbers_of(parts.train)
            require_spread(numbers, self.collection)
            return Task(mean=float(numbers.mean()), scale=float(numbers.std()))
        return Task(labels=parts.labels, positive=positive_of(parts.labels, self.positive))

    def _ready(self, run: Run, parts: Parts, task: Task) -> tuple[Transformer, Any, PooledModel, Fitting]:
        """Return the encoder to begin with, its tokenizer, the model on its device, and what it learns."""
        base = tunable(self.encoder, max_tokens=self.tuning.max_tokens)
        body, tokenizer = base.load_for_training()
        pieces, judged = pieces_of(base, tokenizer), [parts.validation[number] for number in _known(parts, task)]
        train, validation = (_encoded(pieces, rows, task) for rows in (parts.train, judged))
        model = self._model(run, base, body, task)
        objective = Fitting(train, validation, pad_id=base.checkpoint.pad_id, loss=task.loss, judge=task.judge)
        return base, tokenizer, model, objective

    def _model(self, run: Run, base: Transformer, body: Any, task: Task) -> PooledModel:
        adapted = self.tuning.adapted(body, seed=run.seed)
        with seeded(run.seed):
            model = PooledModel(
                adapted,
                pooling=base.pooling,
                dimensions=base.dimensions,
                outputs=len(task.labels) or 1,
                unit=False,
                dropout=0.1,
            )
        self.tuning.place(run, model)
        return model

    def _saved(
        self,
        folder: Path,
        base: Transformer,
        tokenizer: Any,
        model: PooledModel,
        task: Task,
        validation: Sequence[Example],
    ) -> tuple[PairScorer, Vectors]:
        """Write body and head, calibrated on what they serve; return them with the vectors of the validation part."""
        weights, bias = model.head_arrays()
        base.save_body(self.tuning.merged(model.body, folder).cpu(), tokenizer, folder / ENCODER)
        fingerprint = Transformer.from_folder(folder / ENCODER).fingerprint
        (folder / HEAD).mkdir()
        save_positive(folder, task.positive)
        if not task.labels:
            scaled = {"mean": task.mean, "scale": task.scale}
            NumberHead(weights[0], float(bias[0]), fingerprint, **scaled).save(folder / HEAD)
            scorer = PairScorer(folder)
            return scorer, scorer.vectors(_texts(validation))
        head = LinearHead(task.labels, weights, bias, fingerprint)
        head.save(folder / HEAD)
        vectors = PairScorer(folder).vectors(_texts(validation))
        head.calibrated((vectors, [row.label for row in validation])).save(folder / HEAD)
        return PairScorer(folder), vectors


def _texts(rows: Sequence[Example]) -> list[tuple[str, str]]:
    return [(row.text, row.text_pair) for row in rows]


def _known(parts: Parts, task: Task) -> list[int]:
    """Return which validation rows have a label that can be learned; the others count in the report alone."""
    return [at for at, row in enumerate(parts.validation) if not task.labels or row.label in task.labels]


def _encoded(pieces: PairPieces, rows: Sequence[Example], task: Task) -> Rows:
    ids, types = pieces.rows(_texts(rows))
    return Rows(ids, task.targets(rows), types)


def _difference(scorer: PairScorer, vectors: Vectors, outputs: NDArray[np.float32], task: Task) -> float:
    """Return how far served outputs lie from those of training. Raises ArtifactError if they are others."""
    if isinstance(scorer.head, LinearHead):
        found = float(np.abs(softmax(scorer.head.logits(vectors)) - softmax(outputs)).max())
    else:
        found = float(np.abs((scorer.head.values(vectors) - task.mean) / task.scale - outputs[:, 0]).max())
    if not found <= _ALIKE:
        raise ArtifactError(
            "What was saved must answer as what was trained",
            f"Its outputs differ by up to {found:.3f}",
            "device = 'cpu', and report this model",
        )
    return found
