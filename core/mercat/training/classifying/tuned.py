"""What `full`, `lora` and their kin share: from parts to a fine-tuned body with a calibrated head, resumable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import ArtifactWriter
from mercat.encoders.base import Encoder
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError, missing_extra
from mercat.heads import LinearHead
from mercat.training.augmenting import augmented, check_copies
from mercat.training.base import Report, Run
from mercat.training.classifying.classifier import (
    ENCODER,
    ROLE,
    ClassifierRecipe,
    class_weights,
    encode_kept,
    finish,
    labels_of,
    texts_of,
)
from mercat.training.data import Parts
from mercat.training.estimating import Estimate, Trial, encoding_seconds, fitting_seconds
from mercat.training.loop.batches import Encoded
from mercat.training.tracking import Tracker

try:
    from mercat.training.classifying.model import PooledClassifier, freeze, token_ids, tunable
    from mercat.training.classifying.objective import Labelled, predict
    from mercat.training.loop.adversary import Adversary
    from mercat.training.loop.checkpoint import Checkpoints
    from mercat.training.loop.loop import Outcome
    from mercat.training.loop.objective import Objective
    from mercat.training.loop.rehearsal import loop_estimate
    from mercat.training.loop.running import Telling, details_of, digest_of, notes_of, run_loop, seeded, shape_of
    from mercat.training.loop.settings import LoopSettings
    from mercat.training.loop.steering import Steering
    from mercat.training.loop.weights import sizes
except ImportError as error:
    raise missing_extra("Fine-tuning", error.name or "torch", "train") from error

_STRENGTH = 10.0  # C of the head that fine-tuning starts from
_ALIKE = 0.02  # how far served probabilities may lie from those of training, in any number format


class TunedRecipe(ClassifierRecipe):
    """Fine-tunes the encoder's body together with a linear head; the artifact brings its own encoder.

    Raises ConfigError for settings below their least.
    """

    shared = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        settings: LoopSettings,
        max_tokens: int,
        class_weight: Literal["balanced"] | None,
        init_head_from_linear: bool,
        freeze_layers: int,
        device: str,
        tensorboard: bool,
        trackers: Sequence[Tracker],
        monotonic: Callable[[], float],
        augment: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(encoder, **common)
        check_copies(augment)
        for name, found, least in (("max_tokens", max_tokens, 1), ("freeze_layers", freeze_layers, 0)):
            if found < least:
                raise ConfigError(f"{name} = {found}", f"It is at least {least}", f"{name} = {least}")
        self.settings, self.max_tokens, self.class_weight = settings, max_tokens, class_weight
        self.init_head_from_linear, self.freeze_layers, self.device = init_head_from_linear, freeze_layers, device
        self.augment = augment
        self.telling = Telling(tensorboard, trackers, monotonic)

    def begun(self, parts: Parts) -> tuple[Transformer, Any, Any]:
        """Return the encoder that is fine-tuned, its body as a torch module, and its tokenizer."""
        base = tunable(self.encoder, max_tokens=self.max_tokens)
        return base, *base.load_for_training()

    def told(self) -> list[str]:
        """Return what a person should know of what the run began with; asked for at its end."""
        return []

    def adapted(self, body: Any) -> Any:
        """Return the body as it learns. Called with the run's seed set."""
        freeze(body, layers=self.freeze_layers)
        return body

    def merged(self, body: Any, folder: Path) -> Any:
        """Return the body as it is saved; adapters may be written into `folder` on their own."""
        return body

    def steering(self, model: PooledClassifier, *, updates: int) -> Steering | None:
        """Return what takes part in each of the loop's `updates`; None for plain descent. Called before the first."""
        return None

    def shape(self) -> Mapping[str, Any]:
        """Return what, beside the loop's settings, shapes the result; a checkpoint of another shape is not used."""
        return {
            "recipe": type(self).__name__,
            "loop": shape_of(self.settings),
            "max_tokens": self.max_tokens,
            "class_weight": self.class_weight,
            "init_head_from_linear": self.init_head_from_linear,
            "freeze_layers": self.freeze_layers,
            "augment": self.augment,
        }

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Fine-tune on the train part, keep the epoch that does best on validation, write encoder, head and report."""
        started, parts = self.telling.monotonic(), self.parts(run)
        base, body, tokenizer = self.begun(parts)
        checkpoints = Checkpoints(run.scratch, digest_of(self.shape(), parts.digest, base.fingerprint, run.seed))
        model = self._model(run, base, body, parts, resumed=checkpoints.ready)
        encoded = self._encoded(base, tokenizer, parts, run.seed)
        learning = self._learning(model, encoded, parts, base.checkpoint.pad_id)
        outcome = run_loop(run, model, self.settings, checkpoints=checkpoints, telling=self.telling, **learning)
        run.world.leave_to_first()
        logits = predict(model, encoded["validation"], pad_id=base.checkpoint.pad_id)
        counts = sizes(model)  # before what was learned is merged
        head, vectors = self._saved(writer.folder, base, tokenizer, model, parts)
        return finish(
            writer,
            head,
            parts,
            validation_vectors=vectors,
            seconds=self.telling.monotonic() - started,
            counts={"updates": outcome.updates, "learned_from": len(encoded["train"]), **counts},
            notes=[*self.told(), *notes_of(outcome, self.settings.epochs), *self.telling.boards(run)],
            details={**_details(outcome, head), "serving_difference": _difference(head, vectors, logits, parts)},
        )

    def _model(self, run: Run, base: Transformer, body: Any, parts: Parts, *, resumed: bool) -> PooledClassifier:
        """Return body and head on their device, as they are before the first update."""
        labels = parts.labels
        with seeded(run.seed):
            adapted = self.adapted(body)
            model = PooledClassifier(adapted, pooling=base.pooling, dimensions=base.dimensions, labels=len(labels))
        if self.init_head_from_linear and not resumed and run.world.first:  # the loop gives its weights to all
            model.start_from(self._linear_head(run, base, parts), labels)
        return model.to(run.world.device(self.device).name)

    def _linear_head(self, run: Run, base: Transformer, parts: Parts) -> LinearHead:
        """Fit a head on the body as it is: fine-tuning from there needs fewer epochs and moves the body less."""
        validation, train = (
            encode_kept(base, texts_of(rows), folder=run.scratch, name=name, progress=run.progress)
            for name, rows in (("validation", parts.validation), ("train", parts.train))
        )
        base.close()
        return LinearHead.fit(
            train,
            labels_of(parts.train),
            fingerprint=base.fingerprint,
            validation=(validation, labels_of(parts.validation)),
            calibration="none",
            class_weight=self.class_weight,
            strength=_STRENGTH,
            seed=run.seed,
        )

    def estimate(self, run: Run) -> Estimate:
        """Return what `train` would cost, from some updates on a model that is thrown away."""
        trial, parts = Trial(self.telling.monotonic), self.parts(run)
        base, body, tokenizer = self.begun(parts)
        model = self._model(run, base, body, parts, resumed=True)  # a head that is fitted first costs no more updates
        encoded = self._encoded(base, tokenizer, parts, run.seed)
        trial.read()
        if self.init_head_from_linear:
            trial.stages |= self._head_seconds(base, parts, trial.clock)
        validation = encoded["validation"].ids
        learning = self._learning(model, encoded, parts, base.checkpoint.pad_id)
        return loop_estimate(trial, model, self.settings, seed=run.seed, validation=validation, **learning)

    def _head_seconds(self, base: Transformer, parts: Parts, clock: Callable[[], float]) -> dict[str, float]:
        """Return what `_linear_head` costs, by stages."""
        texts = texts_of([*parts.train, *parts.validation])
        encode = encoding_seconds(base, texts, role=ROLE, clock=clock, budget_s=1.0)
        base.close()
        fit = fitting_seconds(len(parts.train), base.dimensions, len(parts.labels), grid=False, clock=clock)
        return {"encode": encode, "fit": fit}

    def _encoded(self, base: Transformer, tokenizer: Any, parts: Parts, seed: int) -> dict[str, Encoded]:
        """Return what the loop reads: token ids of train rows, and of validation rows with labels to learn."""
        learned = augmented(parts.train, copies=self.augment, seed=seed)
        return {
            name: _encoded(base, tokenizer, texts_of(rows), labels_of(rows), parts.labels)
            for name, rows in (("train", learned), ("validation", _known(parts)))
        }

    def _learning(
        self, model: PooledClassifier, encoded: Mapping[str, Encoded], parts: Parts, pad_id: int
    ) -> dict[str, Any]:
        """Return what a loop over this model takes: the objective, and what takes part in its updates."""
        return {
            "objective": self.objective(encoded, parts, pad_id=pad_id),
            "adversary": self._adversary(model),
            "steering": self.steering(model, updates=self.settings.updates(len(encoded["train"]))),
        }

    def objective(self, encoded: Mapping[str, Encoded], parts: Parts, *, pad_id: int) -> Objective:
        """Return what the loop learns from the parts "train" and "validation"."""
        return Labelled(
            encoded["train"],
            encoded["validation"],
            pad_id=pad_id,
            label_smoothing=self.settings.label_smoothing,
            class_weights=class_weights(labels_of(parts.train), parts.labels) if self.class_weight else None,
            score_batch=2 * self.settings.batch_size,
        )

    def _adversary(self, model: PooledClassifier) -> Adversary | None:
        size = self.settings.adversarial
        return Adversary(model.body.get_input_embeddings(), size=size) if size else None

    def _saved(
        self, folder: Path, base: Transformer, tokenizer: Any, model: PooledClassifier, parts: Parts
    ) -> tuple[LinearHead, NDArray[np.float32]]:
        """Write the encoder; return the head, calibrated on what the written encoder serves, and those vectors."""
        weights, bias = model.head_arrays()
        base.save_body(self.merged(model.body, folder).cpu(), tokenizer, folder / ENCODER)
        served = Transformer.from_folder(folder / ENCODER, dtype="float32")  # as it learned
        vectors = served.encode(texts_of(parts.validation), role=ROLE)
        served.close()
        head = LinearHead(parts.labels, weights, bias, served.fingerprint)
        labels = labels_of(parts.validation)
        return head.calibrated((vectors, labels), method=self.calibration, max_error=self.target_error), vectors


def _known(parts: Parts) -> list[Any]:
    """Validation rows whose label can be learned; the others count in the report, not in the loop."""
    return [row for row in parts.validation if row.label in set(parts.labels)]


def _encoded(
    base: Transformer, tokenizer: Any, texts: Sequence[str], labels: Sequence[str], names: Sequence[str]
) -> Encoded:
    number = {name: at for at, name in enumerate(names)}
    ids = token_ids(base, tokenizer, texts, role=ROLE)
    return Encoded(ids, np.array([number[label] for label in labels], dtype=np.int64))


def _difference(head: LinearHead, vectors: NDArray[np.float32], logits: NDArray[np.float32], parts: Parts) -> float:
    """Return how far served probabilities lie from those of training; raise ArtifactError if they are others."""
    from mercat.heads import softmax

    kept = np.array([row.label in set(parts.labels) for row in parts.validation])
    found = float(np.abs(softmax(head.logits(vectors[kept])) - softmax(logits)).max())
    if not found <= _ALIKE:
        raise ArtifactError(
            "What was saved must answer as what was trained",
            f"Probabilities differ by up to {found:.3f}",
            "device = 'cpu', and report this model",
        )
    return found


def _details(outcome: Outcome, head: LinearHead) -> dict[str, Any]:
    return {**details_of(outcome), "temperature": head.temperature, "threshold": head.threshold}
