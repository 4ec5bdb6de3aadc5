"""The recipe `multi-label`: any number of labels per text, none among them; one sigmoid and one threshold per label."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mercat.encoders.base import Encoder, Vectors
from mercat.errors import ConfigError, DataError, missing_extra
from mercat.evaluation.base import Metric
from mercat.evaluation.several import f1_of, several, several_differences, table_of
from mercat.heads.several import SeveralHead, sigmoid
from mercat.predictors.vectors import OnVectors
from mercat.training.base import Evaluation, Run
from mercat.training.classifying.classifier import texts_of
from mercat.training.compare import defined
from mercat.training.data import Parts, part_examples, read_examples
from mercat.training.loop.precision import Dtype
from mercat.training.loop.settings import LoopSettings
from mercat.training.tracking import Tracker
from mercat.training.vectors.base import Arrays, Body, Task, VectorRecipe
from mercat.values import Example

_STRENGTHS = (1.0, 10.0, 100.0)  # C of the heads that are tried on frozen vectors


class MultiLabel(VectorRecipe[SeveralHead]):
    """Learns which of several labels a text has, each by itself.

    A row's labels are its label, cut at `separator`, or the list (or text with separators) in the column `labels` of
    its metadata; there a row may have none. Labels that fewer than two train rows have are left out, and said. `adapt`
    "none" keeps the body frozen and shared, "full" fine-tunes it, "lora" learns matrices of `rank` beside it; the
    settings after `rank` are for these two. The threshold of each label is where its F1 on validation rows is the best;
    rare labels share one. Raises ConfigError for settings out of range.
    """

    kind = "labeller"
    name = "multi-label"
    shared = True

    def __init__(
        self,
        encoder: Encoder,
        *,
        collection: str,
        separator: str = "|",
        labels: str = "",
        validation_share: float = 0.1,
        test_share: float = 0.1,
        split: Literal["auto", "group", "time"] = "auto",
        adapt: Body = "none",
        rank: int = 16,
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
        choose_by: Literal["micro_f1", "macro_f1", "loss"] = "micro_f1",
        checkpoint_every_s: float = 60.0,
        device: str = "auto",
        dtype: Dtype = "auto",
        tensorboard: bool = False,
        trackers: Sequence[Tracker] = (),
        seed: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not separator.strip():
            raise ConfigError(f"separator = '{separator}'", "Labels may have spaces", 'separator = "|"')
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
        self.separator, self.column = separator, labels

    def rows(self, run: Run) -> Parts:
        """Read the collection in its parts; a row's label becomes its labels in order, between separators.

        Raises DataError where fewer than two labels can be learned.
        """
        rows = []
        for row in read_examples(run.store, self.collection):
            if row.text.strip():
                rows.append(replace(row, label=self.separator.join(sorted(self._labels(row)))))
        parts = part_examples(
            rows,
            self.collection,
            labels_of=self._given,
            by_label=False,
            validation_share=self.validation_share,
            test_share=self.test_share,
            split=self.split,
        )
        counts = Counter(label for row in parts.train for label in self._given(row))
        kept = tuple(label for label in parts.labels if counts[label] > 1)
        if len(kept) < 2:
            asked = f"Several labels are learned from two with two train rows each, in '{self.collection}'"
            raise DataError(asked, f"It has {len(kept)}", "more labelled rows")
        single = [label for label in parts.labels if label not in kept]
        told = (
            f"Labels with one train row, {len(single)} of {len(parts.labels)}, were dropped: {', '.join(single[:10])}"
        )
        return replace(parts, labels=kept, notes=(*parts.notes, *([told] if single else [])))

    def task(self, parts: Parts) -> SeveralTask:
        """Return the labels to learn."""
        return SeveralTask(parts.labels, self._given)

    def load(self, folder: Path) -> SeveralHead:
        """Return the head saved in a folder."""
        return SeveralHead.load(folder)

    def compared(
        self,
        task: Task[SeveralHead],
        made: OnVectors[SeveralHead],
        rows: Sequence[Example],
        learned_from: Sequence[Example],
    ) -> Evaluation:
        """Return the figures beside those of TF-IDF and one logistic regression per label."""
        try:
            from mercat.evaluation.baselines import TfidfOneVsRest
        except ModuleNotFoundError as error:
            raise missing_extra("The baseline of an evaluation", error.name or "scikit-learn", "train") from error
        true = [self._given(row) for row in rows]
        names = [*made.head.labels, *sorted({label for some in true for label in some} - set(made.head.labels))]
        truth = table_of(true, names)
        seen = table_of([self._given(row) for row in learned_from], names)
        simple = TfidfOneVsRest().fit(texts_of(learned_from), seen).scores(texts_of(rows))
        scores = _widened(made.head.scores(made.vectors(texts_of(rows))), len(names))
        ours, theirs = _widened(made.head.given(scores[:, : len(made.head.labels)]), len(names)), simple >= 0.5
        return Evaluation(
            metrics=defined(several(truth, ours, scores, names)),
            baseline=TfidfOneVsRest.name,
            baseline_metrics=defined(several(truth, theirs, simple, names)),
            differences=several_differences(truth, ours, theirs),
            counts={"test": len(rows), "labels": len(names)},
        )

    def _given(self, row: Example) -> Sequence[str]:
        return row.label.split(self.separator) if row.label else ()

    def _labels(self, row: Example) -> set[str]:
        found = row.metadata.get(self.column) if self.column else row.label
        if found is None:
            asked = f"The labels of a row are in its column '{self.column}'"
            raise DataError(asked, f"Row '{row.id}' has none of that name", "labels = another column, or none")
        listed = found.split(self.separator) if isinstance(found, str) else [str(each) for each in found]
        if any(self.separator in label for label in listed):
            asked = f"separator = '{self.separator}' parts labels"
            raise DataError(asked, f"Row '{row.id}' has it inside of one: {listed}", "another separator")
        return {label.strip() for label in listed} - {""}


class SeveralTask(Task[SeveralHead]):
    """To learn `labels`; `given` says which of them, or of others, a row has."""

    def __init__(self, labels: Sequence[str], given: Callable[[Example], Sequence[str]]) -> None:
        self.labels, self._given, self.outputs = tuple(labels), given, len(labels)

    def targets(self, rows: Sequence[Example]) -> NDArray[Any]:
        """Return 1 where a row has a label, shape (rows, labels)."""
        return self._truth(rows).astype(np.float32)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return binary cross-entropy, summed over the labels: one label weighs the same however many there are."""
        found = torch.nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        return found.sum(dim=1).mean()

    def judge(self, outputs: NDArray[np.float32], targets: NDArray[Any]) -> Mapping[str, float]:
        """Return F1 at probability 0.5."""
        return f1_of(targets > 0.5, outputs > 0)

    def fitted(
        self, vectors: Vectors, rows: Sequence[Example], *, validation: tuple[Vectors, Sequence[Example]]
    ) -> Arrays:
        """Return one logistic regression per label, as strong as validation rows want it."""
        from mercat.heads.fitting import fit_each

        truth, wanted = self._truth(rows), self._truth(validation[1])
        tried = [fit_each(vectors, truth, strength=strength) for strength in _STRENGTHS]
        return min(tried, key=lambda arrays: _surprise(validation[0] @ arrays[0].T + arrays[1], wanted))

    def head(self, weights: NDArray[np.float32], bias: NDArray[np.float32], fingerprint: str) -> SeveralHead:
        """Return the head with the threshold 0.5 for each label."""
        return SeveralHead(self.labels, weights, bias, np.full(len(bias), 0.5, dtype=np.float32), fingerprint)

    def raw(self, head: SeveralHead, vectors: Vectors) -> NDArray[np.float32]:
        """Return logits, shape (rows, labels)."""
        return head.logits(vectors)

    def calibrated(self, head: SeveralHead, vectors: Vectors, rows: Sequence[Example]) -> SeveralHead:
        """Return the head with temperature and thresholds."""
        return head.calibrated(vectors, self._truth(rows))

    def metrics(self, head: SeveralHead, vectors: Vectors, rows: Sequence[Example]) -> dict[str, Metric]:
        """Return the figures; a label that the head does not know counts as missed."""
        true = [self._given(row) for row in rows]
        names = [*self.labels, *sorted({label for some in true for label in some} - set(self.labels))]
        scores = head.scores(vectors)
        tables = (_widened(head.given(scores), len(names)), _widened(scores, len(names)))
        return defined(several(table_of(true, names), *tables, names))

    def details(self, head: SeveralHead) -> Mapping[str, Any]:
        """Return temperature and thresholds."""
        thresholds = {label: float(at) for label, at in zip(head.labels, head.thresholds, strict=True)}
        return {"temperature": head.temperature, "thresholds": thresholds}

    def _truth(self, rows: Sequence[Example]) -> NDArray[np.bool_]:
        return table_of([self._given(row) for row in rows], self.labels)


def _surprise(logits: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Return the mean negative log-likelihood of a table, shape (rows, labels)."""
    sure = np.clip(sigmoid(logits), 1e-7, 1 - 1e-7)
    return float(-np.where(truth, np.log(sure), np.log(1 - sure)).mean())


def _widened(table: NDArray[Any], columns: int) -> NDArray[Any]:
    """Return a table with columns of zeros after its own, shape (rows, columns)."""
    return np.pad(table, ((0, 0), (0, columns - table.shape[1])))
