"""The recipe `distill`: a smaller encoder learns to answer as a trained classifier does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mercat.artifacts import ArtifactWriter
from mercat.classifiers import Classifier
from mercat.encoders.base import Encoder
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError
from mercat.training.augmenting import augmented
from mercat.training.base import Report, Run
from mercat.training.classifying.classifier import (
    ROLE,
    Calibration,
    Scorer,
    class_weights,
    labels_of,
    texts_of,
)
from mercat.training.classifying.full import Full
from mercat.training.classifying.model import token_ids, tunable
from mercat.training.data import ROWS, Parts, Split, learned_from
from mercat.training.estimating import Estimate
from mercat.training.loop.batches import Encoded
from mercat.training.loop.precision import Dtype
from mercat.training.loop.settings import Choice
from mercat.training.report import save_report
from mercat.training.smaller.lesson import Lesson, lesson, require_labels, unlabelled_texts
from mercat.training.smaller.objective import UNLABELLED, Taught
from mercat.training.smaller.student import with_layers
from mercat.training.smaller.weighing import same, texts_per_s
from mercat.training.tracking import Tracker
from mercat.values import Example

_TRIED = 32  # texts that the teacher is asked about for an estimate


class Distill(Full):
    """Fine-tunes a student on labels and on what the classifier `teacher` says of the same texts.

    The student is the `encoder`, or with `layers` above 0 so many of its layers, evenly spaced, the top one among them:
    half of the layers answer twice as fast. `hard` is the share of the loss that goes by the labels, the rest goes by
    the teacher's probabilities at `temperature`. `unlabelled` names a collection whose texts are learned from as well,
    by what the teacher says of them alone. The teacher must give the labels of the train part and no others; take one
    that was trained on the same collection, so that it has not seen the test part. The report sets both beside each
    other. Raises ConfigError for settings out of range. The other parameters are those of `full`.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        teacher: Classifier,
        collection: str,
        validation_share: float = 0.1,
        test_share: float = 0.1,
        split: Split = "auto",
        calibration: Calibration = "temperature",
        target_error: float | None = None,
        layers: int = 0,
        hard: float = 0.5,
        temperature: float = 2.0,
        unlabelled: str = "",
        max_tokens: int = 128,
        epochs: int = 5,
        batch_size: int = 32,
        learning_rate: float = 2e-4,
        head_learning_rate: float = 5e-3,
        warmup: float = 0.1,
        weight_decay: float = 0.01,
        layer_decay: float = 1.0,
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
        _check(layers, hard, temperature, unlabelled)
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
            layer_decay=layer_decay,
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
        self.teacher, self.layers, self.hard, self.temperature = teacher, layers, hard, temperature
        self.unlabelled = unlabelled
        self._lesson = Lesson(np.zeros((0, 0), dtype=np.float32), (), "")

    def shape(self) -> Mapping[str, Any]:
        return {**super().shape(), "distill": [self.layers, self.hard, self.temperature, self._lesson.digest]}

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Ask the teacher about all texts, fine-tune the student, and set both beside each other."""
        started, parts = self.telling.monotonic(), self.parts(run)
        ready = copy(self)
        ready.encoder = self._student(run, run.scratch)
        ready._lesson = self._taught(run, parts)
        report = Full.train(ready, run, writer)
        judged = self._judged(parts)
        figures = self._beside(self.scorer(writer.folder), parts.validation, judged, report)
        taught = len(ready._lesson.unlabelled)
        report = replace(
            report,
            seconds=self.telling.monotonic() - started,
            counts={**report.counts, "unlabelled": taught} if self.unlabelled else report.counts,
            notes=[*report.notes, *_learned(parts.validation, judged), _said(figures, len(judged))],
            details={**report.details, **figures},
        )
        save_report(writer.folder, report)
        return report

    def estimate(self, run: Run) -> Estimate:
        """Return what `train` would cost: what `full` on the student would, and asking the teacher."""
        clock, parts = self.telling.monotonic, self.parts(run)
        started, ready = clock(), copy(self)
        ready.encoder = self._student(run, run.scratch)
        texts, unlabelled = self._texts(run, parts)
        count = len(texts) + len(unlabelled)
        alike = np.full((count, len(parts.labels)), 1 / len(parts.labels), dtype=np.float32)
        ready._lesson = Lesson(alike, unlabelled, "")
        rate = texts_per_s(self.teacher.scores, [*texts, *unlabelled][:_TRIED], clock=clock)
        found = Full.estimate(ready, run)
        return replace(found, stages={**found.stages, "teach": count / rate}, tried_s=clock() - started)

    def objective(self, encoded: Mapping[str, Encoded], parts: Parts, *, pad_id: int) -> Taught:
        """Return what the loop learns: labels and the teacher's word."""
        return Taught(
            encoded["train"],
            encoded["validation"],
            soft=self._lesson.softened(self.temperature),
            hard=self.hard,
            temperature=self.temperature,
            pad_id=pad_id,
            label_smoothing=self.settings.label_smoothing,
            class_weights=class_weights(labels_of(parts.train), parts.labels) if self.class_weight else None,
            score_batch=2 * self.settings.batch_size,
        )

    def _encoded(self, base: Transformer, tokenizer: Any, parts: Parts, seed: int) -> dict[str, Encoded]:
        found = super()._encoded(base, tokenizer, parts, seed)
        more = token_ids(base, tokenizer, self._lesson.unlabelled, role=ROLE)
        labels = np.concatenate([found["train"].labels, np.full(len(more), UNLABELLED, dtype=np.int64)])
        return {**found, "train": Encoded([*found["train"].ids, *more], labels)}

    def _student(self, run: Run, folder: Path) -> Encoder:
        """Return the encoder that learns; one with fewer layers is written into `folder`, by the first process."""
        if not self.layers:
            return self.encoder
        base = tunable(self.encoder, max_tokens=self.max_tokens)
        place = folder / f"student-{base.fingerprint[:16]}-{self.layers}"
        if run.world.first:
            folder.mkdir(parents=True, exist_ok=True)
            with_layers(base, self.layers, folder=place)
        run.world.told("cut")
        return Transformer.from_folder(place)

    def _texts(self, run: Run, parts: Parts) -> tuple[list[str], list[str]]:
        """Return the texts of train rows as the loop will read them, and those without labels."""
        require_labels(self.teacher, parts.labels)
        unlabelled = unlabelled_texts(run.store, self.unlabelled, parts) if self.unlabelled else []
        return texts_of(augmented(parts.train, copies=self.augment, seed=run.seed)), unlabelled

    def _taught(self, run: Run, parts: Parts) -> Lesson:
        """Return what the teacher says; the first process asks it, the others read what it kept."""
        texts, unlabelled = self._texts(run, parts)
        if not run.world.first:
            run.world.told("")
        found = lesson(self.teacher, parts.labels, texts, unlabelled, folder=run.scratch, progress=run.progress)
        if run.world.first:
            run.world.told("taught")
        return found

    def _judged(self, parts: Parts) -> list[Example]:
        """Return the validation rows that the teacher has not learned from, as one that was refitted has."""
        artifact = getattr(self.teacher, "artifact", None)
        if artifact is None or not (artifact.folder / ROWS).is_file():
            return list(parts.validation)
        seen = learned_from(artifact.folder, parts.validation)
        return [row for row, known in zip(parts.validation, seen, strict=True) if not known]

    def _beside(
        self, student: Scorer, validation: Sequence[Example], judged: Sequence[Example], report: Report
    ) -> dict[str, Any]:
        """Return accuracy on the rows `judged` (None without any), parameters and speed of teacher and student."""
        texts = texts_of(validation)
        both = {"teacher": Scorer(tuple(self.teacher.labels), self.teacher.scores), "student": student}
        sizes = {"teacher": getattr(self.teacher, "parameters", None), "student": report.counts["parameters"]}
        return {
            name: {
                "accuracy": same(each, labels_of(judged), texts_of(judged)) if judged else None,
                "parameters": sizes[name],
                "texts_per_s": texts_per_s(each.scores, texts, clock=self.telling.monotonic),
            }
            for name, each in both.items()
        }


def _check(layers: int, hard: float, temperature: float, unlabelled: str) -> None:
    if layers < 0:
        raise ConfigError(f"layers = {layers}", "It counts layers that are kept; 0 keeps all", "layers = 3")
    if not 0 <= hard <= 1:
        raise ConfigError(f"hard = {hard}", "It is the share of the loss that goes by labels", "hard = 0.5")
    if not temperature > 0:
        raise ConfigError(f"temperature = {temperature}", "It is above 0", "temperature = 2.0")
    if unlabelled and hard == 1:
        found = "Texts without labels teach by what the teacher says, and the loss goes by labels alone"
        raise ConfigError(f"unlabelled = '{unlabelled}' with hard = {hard}", found, "hard = 0.5")


def _learned(validation: Sequence[Example], judged: Sequence[Example]) -> list[str]:
    """Return what to say of validation rows that the teacher has learned from."""
    count, rest = len(validation) - len(judged), "no figure says which of the two is better"
    if not count:
        return []
    rest = f"both are compared on the other {len(judged)}" if judged else rest
    return [f"The teacher has learned from {count} of the {len(validation)} validation rows: {rest}"]


def _said(figures: Mapping[str, Mapping[str, Any]], rows: int) -> str:
    def each(name: str) -> str:
        found = figures[name]
        size = f"{found['parameters']:,} parameters, " if found["parameters"] is not None else ""
        right = f"accuracy {found['accuracy']:.4f}, " if found["accuracy"] is not None else ""
        return f"{name} {right}{size}{found['texts_per_s']:.0f} texts a second"

    where = f"On {rows} validation rows: " if rows else "Beside each other: "
    return f"{where}{each('teacher')}; {each('student')}"
