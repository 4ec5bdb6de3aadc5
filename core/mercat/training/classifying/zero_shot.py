"""The recipe `zero-shot`: labels are known by their names and descriptions alone; nothing has to be labelled.

A text belongs to the label whose description it is nearest to (Yin et al. 2019, https://arxiv.org/abs/1909.00161, with
a sentence encoder in place of entailment). What all descriptions share is taken out of them first, because it tells no
label from another.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import ArtifactWriter
from mercat.encoders.base import Encoder
from mercat.errors import ConfigError
from mercat.heads import LinearHead
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
from mercat.training.data import Parts, Split
from mercat.training.estimating import Estimate, Trial, encoding_seconds, vectors_mb
from mercat.values import Example

_SCALE = 20.0  # logits per unit of cosine, where no labelled rows say better


class ZeroShot(ClassifierRecipe):
    """Makes a classifier of `labels`: a table of label = "description" or label = ["description", "another", …].

    Each description is put into `template` at its `{}`; a label is the mean of its descriptions' vectors. Labelled rows
    of the collection, if there are any, only calibrate the confidence and check the result; their test part stays
    unseen, and without any the report says that nothing was checked. The encoder stays as it is and shared. Raises
    ConfigError for fewer than two labels, an empty description or a template without `{}`.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        collection: str,
        labels: Mapping[str, str | list[str]],
        template: str = "{}",
        validation_share: float = 0.1,
        test_share: float = 0.1,
        split: Split = "auto",
        calibration: Calibration = "temperature",
        target_error: float | None = None,
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
            seed=seed,
        )
        self.labels, self.template, self._monotonic = _descriptions(labels), template, monotonic
        if "{}" not in template:
            raise ConfigError(f"template = '{template}'", "It has no {} for the description", 'template = "{}"')

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Encode the descriptions; calibrate and check on labelled rows where there are some; write the head."""
        started, parts = self._monotonic(), self._known(run)
        head = self._head()
        vectors = encode_kept(
            self.encoder, texts_of(parts.validation), folder=run.scratch, name="validation", progress=run.progress
        )
        notes = [f"{sum(map(len, self.labels.values()))} descriptions of {len(self.labels)} labels, no row was learned"]
        if parts.validation:
            known = (vectors, labels_of(parts.validation))
            head = head.calibrated(known, method=self.calibration, max_error=self.target_error)
        else:
            found = f"No labelled rows in '{self.collection}'"
            notes.append(f"{found}: neither the confidence nor the result has been checked")
        return finish(
            writer,
            head,
            parts,
            validation_vectors=vectors,
            seconds=self._monotonic() - started,
            counts={"parameters": self.encoder.info().parameters, "trainable_parameters": 0},
            notes=notes,
            details={"temperature": head.temperature, "threshold": head.threshold, "descriptions": dict(self.labels)},
        )

    def estimate(self, run: Run) -> Estimate:
        """Return what `train` would cost: to encode descriptions and labelled rows. Nothing is learned."""
        trial, parts = Trial(self._monotonic), self._known(run)
        trial.read()
        texts, info = [*self._described(), *texts_of(parts.validation)], self.encoder.info()
        trial.stages["encode"] = encoding_seconds(self.encoder, texts, role=ROLE, clock=trial.clock)
        head = len(self.labels) * (info.dimensions + 1)
        return trial.done(parameters=info.parameters + head, further_mb=vectors_mb(len(texts), info.dimensions))

    def _described(self) -> list[str]:
        return [self.template.replace("{}", text) for texts in self.labels.values() for text in texts]

    def _head(self) -> LinearHead:
        vectors, means, start = self.encoder.encode(self._described(), role=ROLE), [], 0
        for described in self.labels.values():
            means.append(_unit(vectors[start : start + len(described)].mean(axis=0)))
            start += len(described)
        weights = np.stack(means)
        weights = _SCALE * np.stack([_unit(row) for row in weights - weights.mean(axis=0)])
        bias = np.zeros(len(weights), dtype=np.float32)
        return LinearHead(tuple(self.labels), weights.astype(np.float32), bias, self.encoder.fingerprint)

    def _known(self, run: Run) -> Parts:
        """Return the labelled rows but for the test part as validation; none, where rows have no labels yet."""
        rows = run.store.rows("examples", self.collection)
        if not any(isinstance(row, Example) and row.label for row in rows):
            digest = hashlib.sha256(json.dumps([self.labels, self.template]).encode()).hexdigest()
            return Parts((), (), (), tuple(self.labels), digest, {"labels": len(self.labels)}, ())
        parts = self.parts(run)
        validation = [*parts.train, *parts.validation]
        counts = {"labels": len(self.labels), "validation": len(validation), "test": len(parts.test)}
        strange = sorted({row.label for row in validation} - set(self.labels))
        notes = (f"Rows have labels without a description, they count as errors: {', '.join(strange[:10])}",)
        return Parts((), validation, parts.test, tuple(self.labels), parts.digest, counts, notes if strange else ())


def _descriptions(labels: Mapping[str, str | list[str]]) -> dict[str, Sequence[str]]:
    found = {label: [text] if isinstance(text, str) else list(text) for label, text in labels.items()}
    if len(found) < 2:
        raise ConfigError("labels of 'zero-shot'", f"It has {len(found)}", 'labels = { a = "what a is", b = "…" }')
    for label, texts in found.items():
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise ConfigError(f"labels.{label}", "A description is empty", f'{label} = "what {label} is"')
    return dict(found)


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the vector at length 1; zeros stay zeros. The shape is (dimensions,)."""
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length else vector, dtype=np.float32)
