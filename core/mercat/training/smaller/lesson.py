"""What a teacher says of the texts that a student learns from, asked once and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mercat.classifiers import Classifier
from mercat.encoders.parity import TEXTS
from mercat.errors import DataError
from mercat.evaluation.splits import key_of
from mercat.store import Store
from mercat.training.base import Progress
from mercat.training.classifying.classifier import kept_rows
from mercat.training.data import Parts
from mercat.training.encoding.texts import read_texts

_LEAST = 1e-6  # a probability of 0 has no logarithm


@dataclass(frozen=True, slots=True)
class Lesson:
    """The teacher's probabilities, shape (texts, labels), of the train texts and then the `unlabelled` ones.

    `digest` stands for teacher and texts.
    """

    probabilities: NDArray[np.float32]
    unlabelled: Sequence[str]
    digest: str

    def softened(self, temperature: float) -> NDArray[np.float32]:
        """Return the probabilities at a temperature, shape (texts, labels): above 1 they say more of the others."""
        powers = np.maximum(self.probabilities, _LEAST) ** (1.0 / temperature)
        found: NDArray[np.float32] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        return found


def require_labels(teacher: Classifier, labels: Sequence[str]) -> None:
    """Raise DataError unless the teacher gives the labels that are to be learned, and no others."""
    unknown, foreign = sorted(set(labels) - set(teacher.labels)), sorted(set(teacher.labels) - set(labels))
    if not unknown and not foreign:
        return
    said = [f"It does not know {_some(unknown)}"] if unknown else []
    said += [f"no train row has its {_some(foreign)}"] if foreign else []
    raise DataError(
        f"A teacher must give the {len(labels)} labels that its student learns",
        "; ".join(said),
        "a teacher that was trained on the same collection",
    )


def lesson(
    teacher: Classifier,
    labels: Sequence[str],
    texts: Sequence[str],
    unlabelled: Sequence[str],
    *,
    folder: Path,
    progress: Progress,
) -> Lesson:
    """Ask the teacher about train texts and unlabelled ones; columns as `labels`. Raises DataError for others."""
    require_labels(teacher, labels)
    columns = [list(teacher.labels).index(label) for label in labels]
    mark = mark_of(teacher)
    found = kept_rows(
        lambda chunk: teacher.scores(chunk)[:, columns],
        [*texts, *unlabelled],
        width=len(labels),
        mark=mark,
        folder=folder,
        name="taught",
        stage="teach",
        progress=progress,
    )
    digest = hashlib.sha256(json.dumps([mark, list(texts), list(unlabelled)]).encode()).hexdigest()
    return Lesson(found, unlabelled, digest)


def unlabelled_texts(store: Store, collection: str, parts: Parts) -> list[str]:
    """Return the texts of a collection, whatever they are, each once; none that is a row of `parts` already.

    Rows that say to be for validation or test are left out. Raises DataError when nothing is left.
    """
    asked = "Distillation from unlabelled texts"
    read = read_texts(store, collection, asked=asked, validation_share=0.0, test_share=0.0)
    known = {key_of(row) for part in (parts.train, parts.validation, parts.test) for row in part}
    found = {key_of(row): row.text for row in read.train if key_of(row) not in known}
    if not found:
        cure = "a collection with other texts, or no unlabelled"
        raise DataError(f"{asked} needs texts that have no label", f"All of '{collection}' are labelled rows", cure)
    return list(found.values())


def mark_of(teacher: Classifier) -> str:
    """Return what stands for a teacher: its labels, and what it says of some texts that are always the same."""
    said = np.round(teacher.scores(TEXTS).astype(np.float64), 3).tolist()
    return hashlib.sha256(json.dumps([list(teacher.labels), said]).encode()).hexdigest()


def _some(labels: Sequence[str]) -> str:
    return ", ".join(f"'{label}'" for label in labels[:5]) + (" …" if len(labels) > 5 else "")
