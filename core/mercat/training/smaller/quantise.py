"""The recipe `quantise`: a trained classifier again, its weights as int8, one scale per channel, for ONNX Runtime."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mercat.artifacts import Artifact, Artifacts, ArtifactWriter, load_arrays
from mercat.encoders.base import Encoder
from mercat.encoders.cache import unwrap
from mercat.encoders.exported import INT8
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError, DataError
from mercat.heads import LinearHead, load_head, require_fingerprint
from mercat.training.base import Evaluation, Report, Run
from mercat.training.classifying.classifier import (
    ENCODER,
    HEAD,
    ROLE,
    Calibration,
    Scorer,
    finish,
    labels_of,
    own_encoder,
    texts_of,
)
from mercat.training.data import ROWS, Parts, Split, check_shares, learned_from, read_parts, row_hashes, unseen
from mercat.training.estimating import Estimate, Trial
from mercat.training.smaller.student import with_layers
from mercat.training.smaller.weighing import megabytes, same, texts_per_s
from mercat.values import Example

_TRIED = 32  # texts that the original is asked about for an estimate
_SCORED = 5  # times that each text is scored or encoded, by the original or by what is made


@dataclass(frozen=True, slots=True)
class _Whole:
    """A classifier with the encoder that it answers with."""

    encoder: Transformer
    head: LinearHead

    @property
    def scorer(self) -> Scorer:
        return Scorer(self.head.labels, lambda texts: self.head.scores(self.encoder.encode(texts, role=ROLE)))

    def figures(self, parts: Parts, clock: Callable[[], float]) -> dict[str, float]:
        """Return what it costs, and its accuracy on the validation rows."""
        texts = texts_of(parts.validation)
        return {
            "accuracy": same(self.scorer, labels_of(parts.validation), texts),
            "megabytes": megabytes(self.encoder),
            "texts_per_s": texts_per_s(self.scorer.scores, texts, clock=clock),
        }


class Quantise:
    """Makes a smaller classifier of the current version of `artifact`; nothing is trained.

    Its encoder, its own or the shared `encoder` that its head was fitted with, becomes int8 with one scale per channel,
    a fourth of the size, and is put into the new artifact; the head is calibrated anew on the int8 encoder's vectors of
    the rows on which the original was chosen. Nothing is kept unless the vectors have a cosine of at least 0.98 to the
    original's, and the accuracy on those rows lies no more than `max_drop` below. What is made answers without torch.
    `target_error` None keeps the original's threshold. Raises ConfigError for settings out of range.
    """

    kind = "classifier"

    def __init__(
        self,
        artifacts: Artifacts,
        *,
        artifact: str,
        collection: str,
        encoder: Encoder | None = None,
        validation_share: float = 0.1,
        test_share: float = 0.1,
        split: Split = "auto",
        calibration: Calibration = "temperature",
        target_error: float | None = None,
        max_drop: float = 0.01,
        seed: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        check_shares(validation_share=validation_share, test_share=test_share)
        if not 0 <= max_drop <= 1:
            raise ConfigError(f"max_drop = {max_drop}", "It is a share of the rows", "max_drop = 0.01")
        if target_error is not None and not 0 <= target_error < 1:
            raise ConfigError(f"target_error = {target_error}", "It is a share of the answers", "target_error = 0.05")
        self.artifacts, self.artifact, self.encoder = artifacts, artifact, encoder
        self.collection, self.seed, self.max_drop = collection, seed, max_drop
        self.calibration, self.target_error, self._clock = calibration, target_error, monotonic
        self._shares: dict[str, Any] = {"validation_share": validation_share, "test_share": test_share, "split": split}

    def evaluate(self, run: Run, artifact: Path) -> Evaluation:
        """Score a finished artifact on test rows that the original never saw, beside TF-IDF + logistic regression."""
        from mercat.training.classifying.evaluate import evaluate_classifier

        parts = read_parts(run.store, self.collection, **self._shares)
        made = _Whole(Transformer.from_folder(artifact / ENCODER), _linear(artifact, self.artifact))
        scorer = replace(made.scorer, threshold=made.head.threshold)
        return evaluate_classifier(parts, artifact, scorer, progress=run.progress)

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Export the encoder as int8, calibrate the head on what it gives, hold it against the original, write both."""
        started, parts = self._clock(), read_parts(run.store, self.collection, **self._shares)
        found = self.artifacts.open(self.artifact)
        original = self._original(found)
        validation, notes = self._validation(found, original.head, parts)
        parts = replace(parts, validation=validation)
        run.progress("export", 0, 1)
        encoder, parity = self._exported(original.encoder, run.scratch, writer.folder / ENCODER)
        run.progress("export", 1, 1)
        vectors = encoder.encode(texts_of(parts.validation), role=ROLE)
        made = _Whole(encoder, self._calibrated(original.head, encoder, vectors, parts))
        before, after = (each.figures(parts, self._clock) for each in (original, made))
        self._require_accurate(before["accuracy"], after["accuracy"], len(parts.validation))
        report = finish(
            writer,
            made.head,
            parts,
            validation_vectors=vectors,
            seconds=self._clock() - started,
            counts={"parameters": original.encoder.info().parameters, "trainable_parameters": 0},
            notes=[f"Made of version {found.version} of '{self.artifact}'", *notes, _said(before, after, parity)],
            details={"before": before, "after": after, "cosine": dict(parity), "from": [found.name, found.version]},
        )
        shutil.copyfile(found.folder / ROWS, writer.folder / ROWS)  # it knows what the original knows
        for each in (original, made):
            each.encoder.close()
        return report

    def estimate(self, run: Run) -> Estimate:
        """Return what `train` would cost, from rounding a body of one layer. Nothing is learned."""
        trial, parts = Trial(self._clock), read_parts(run.store, self.collection, **self._shares)
        found = self.artifacts.open(self.artifact)
        original = self._original(found)
        texts, info = texts_of(self._validation(found, original.head, parts)[0]), original.encoder.info()
        trial.read()
        per_text = 1 / texts_per_s(original.scorer.scores, texts[:_TRIED], clock=trial.clock)
        trial.stages["compare"] = _SCORED * len(texts) * per_text
        original.encoder.close()
        small = self._smallest(original.encoder, run.scratch)
        times = info.parameters / small.info().parameters
        started = trial.clock()
        self._exported(small, run.scratch / "export", run.scratch / "rounded")[0].close()
        trial.stages["export"] = times * (trial.clock() - started)
        return trial.done(parameters=info.parameters, growth=times)

    def _smallest(self, encoder: Transformer, folder: Path) -> Transformer:
        """Return the encoder with one of its layers; as it is where its layers cannot be told apart."""
        try:
            return with_layers(encoder, 1, folder=folder / "one-layer")
        except ConfigError:
            return encoder

    def _original(self, artifact: Artifact) -> _Whole:
        """Return the classifier to make smaller. Raises ConfigError for what cannot be quantised."""
        head = _linear(artifact.folder, artifact.name) if artifact.kind == self.kind else None
        encoder = own_encoder(artifact.folder) or (unwrap(self.encoder) if self.encoder else None)
        asked = f"Quantising the artifact '{self.artifact}'"
        if head is None:
            raise ConfigError(asked, f"It is a {artifact.kind} of '{artifact.recipe}'", "a classifier of one label")
        if encoder is None:
            found = "Its head is for a shared encoder, and the recipe names none"
            raise ConfigError(asked, found, 'encoder = "default", the one that it was trained with')
        require_fingerprint(encoder.fingerprint, head)
        if not isinstance(encoder, Transformer) or encoder.checkpoint.exported:
            info = encoder.info()
            found = f"Its encoder is {info.model} ({info.backend}, {info.dtype}), without weights to round"
            raise ConfigError(asked, found, "an artifact whose encoder is a transformer, such as those of 'full'")
        return _Whole(encoder, head)

    def _validation(self, artifact: Artifact, head: LinearHead, parts: Parts) -> tuple[list[Example], list[str]]:
        """Return the rows that the original was chosen on, and what to say of them; it has learned from others.

        One that was refitted has learned from those too. Then they are the validation rows that came in since: it has
        never seen them. Raises DataError when there are neither.
        """
        saved = load_arrays(artifact.folder / ROWS)
        rows = [*parts.train, *parts.validation, *parts.test]
        kept = [row for row, there in zip(rows, np.isin(row_hashes(rows), saved["validation"]), strict=True) if there]
        if any(row.label in head.labels for row in kept):
            return kept, []
        asked = f"Quantising '{self.artifact}' needs validation rows that it has not learned from"
        if not learned_from(artifact.folder, rows).any():
            found = f"'{self.collection}' has none of the {len(saved['validation'])} that it was chosen on"
            raise DataError(asked, found, "the collection that it was trained on")
        tested = np.isin(row_hashes(parts.validation), saved["test"])
        new = [row for row, there in zip(parts.validation, tested, strict=True) if not there]
        new = [row for row in unseen(artifact.folder, new, texts=True) if row.label in head.labels]
        if new:
            told = f"Calibrated and judged on {len(new)} validation rows that came in since; it has learned from others"
            return new, [told]
        found = f"It was made by '{artifact.recipe}' and learned from them as well in the end"
        raise DataError(asked, found, f"refit = false, and mercat train {self.artifact}")

    def _exported(self, original: Transformer, scratch: Path, folder: Path) -> tuple[Transformer, Mapping[str, float]]:
        """Write the encoder in int8 into `folder`; return it and how near its vectors are to the original's."""
        rounded = Transformer(
            str(original.checkpoint.folder),
            pooling=original.pooling,
            max_tokens=original.max_tokens,
            query_prefix=original.prefix("query"),
            document_prefix=original.prefix("document"),
            backend="onnx",
            quantise="int8",
            workspace_folder=scratch,
        )
        try:
            exported = rounded.export()
        except ArtifactError as error:
            cure = "serve the original as it is, or make it smaller by: distill"
            raise ArtifactError(f"Quantising '{self.artifact}'", error.found, cure) from error
        shutil.copytree(exported.folder, folder)
        return Transformer.from_folder(folder), exported.parity[INT8]

    def _calibrated(self, head: LinearHead, encoder: Transformer, vectors: Any, parts: Parts) -> LinearHead:
        known = (vectors, labels_of(parts.validation))
        moved = replace(head, fingerprint=encoder.fingerprint)
        found = moved.calibrated(known, method=self.calibration, max_error=self.target_error)
        return found if self.target_error is not None else replace(found, threshold=head.threshold)

    def _require_accurate(self, before: float, after: float, rows: int) -> None:
        if before - after > self.max_drop + 1e-9:
            raise ArtifactError(
                f"Quantising '{self.artifact}' may cost {self.max_drop} of its accuracy",
                f"On {rows} validation rows it is {after:.4f}, that of the original {before:.4f}",
                f"serve the original as it is, or max_drop = {before - after:.3f}",
            )


def _linear(folder: Path, name: str) -> LinearHead:
    """Return the linear head of an artifact. Raises ConfigError for one with a memory: it is of the old vectors."""
    head = load_head(folder / HEAD)
    if not isinstance(head, LinearHead):
        found = "Its head remembers vectors of the encoder as it was"
        raise ConfigError(f"Quantising the artifact '{name}'", found, "memory = 0 when it is trained")
    return head


def _said(before: Mapping[str, float], after: Mapping[str, float], parity: Mapping[str, float]) -> str:
    def each(form: str, name: str) -> str:
        return f"{before[name]:{form}} before, {after[name]:{form}} after"

    parts: Sequence[str] = (
        f"accuracy on validation {each('.4f', 'accuracy')}",
        f"MB of the encoder {each('.1f', 'megabytes')}",
        f"texts a second {each('.0f', 'texts_per_s')}",
        f"least cosine to the original {parity['least']:.4f}",
    )
    return "Int8: " + "; ".join(parts)
