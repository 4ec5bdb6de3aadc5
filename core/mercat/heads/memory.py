"""A linear head that remembers: the labels of the nearest vectors have a say in each answer.

Khandelwal et al. 2020, https://arxiv.org/abs/1911.00172 (a share of the probability comes from the nearest rows that
are remembered); Snell et al. 2017, https://arxiv.org/abs/1703.05175 (a label is the mean of its rows). A row that was
labelled wrong or right is a vector here, so an answer can be traced to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mercat.errors import ArtifactError, ConfigError, DataError
from mercat.heads.abstain import threshold_for
from mercat.heads.base import Scores, Vectors
from mercat.heads.calibrate import fit_temperature, nll, softmax
from mercat.heads.files import read_head, write_head
from mercat.heads.linear import LinearHead

if TYPE_CHECKING:
    from mercat.heads.fitting import Labelled

Remembered = Literal["rows", "prototypes"]
TYPE = "memory"
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
"""What a share that is not given is chosen from, on validation rows."""
_WIDTH = 0.05  # by how much less cosine a neighbour counts 1/e of another
_LEAST = 1e-6
_AT_ONCE = 1024
_PREFIX = "linear/"


@dataclass(frozen=True, eq=False)
class MemoryHead:
    """Probabilities are (1 - share) of the linear head's and `share` of the votes of the `neighbours` nearest vectors.

    `vectors` has shape (remembered, dimensions), rows of length 1, float32; `numbers` (remembered,) are columns of
    `labels`. A vote weighs exp(cosine / 0.05). The mixture's logarithm is divided by `temperature`.
    """

    linear: LinearHead
    vectors: NDArray[np.float32]
    numbers: NDArray[np.int64]
    share: float
    neighbours: int
    temperature: float = 1.0
    threshold: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of `scores`."""
        return self.linear.labels

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the encoder whose vectors it was fitted on."""
        return self.linear.fingerprint

    @classmethod
    def beside(
        cls,
        linear: LinearHead,
        rows: Labelled,
        *,
        validation: Labelled,
        share: float | Literal["auto"] = "auto",
        neighbours: int = 20,
        remember: Remembered = "rows",
        calibrate: bool = True,
        max_error: float | None = None,
    ) -> MemoryHead:
        """Return the head with a memory of `rows`, (vectors, labels); other choices are made on `validation`.

        `remember` "prototypes" keeps one vector per label, the mean of its rows, and lets all of them vote. The share
        "auto" is the one with the most right validation rows (ties: the likelier). Rows of labels that the linear head
        does not know are not remembered. Raises ConfigError for a share or a number of neighbours out of range,
        DataError when nothing can be remembered.
        """
        check_memory(share, neighbours)
        vectors, numbers = _known(linear, rows)
        if not len(vectors):
            found = f"None of the {len(rows[1])} rows has a label that the head knows"
            raise DataError("A head with a memory needs rows to remember", found, "rows with the head's labels")
        if remember == "prototypes":
            vectors, numbers = _prototypes(vectors, numbers)
            neighbours = len(vectors)
        head = cls(linear, _units(vectors), numbers, 0.0, neighbours)
        shares = SHARES if share == "auto" else (share,)
        parts = head._parts(np.asarray(validation[0], dtype=np.float32))
        chosen = max(shares, key=lambda each: _merit(linear, _mixed(parts, each), validation[1]))
        head = replace(head, share=float(chosen), notes=linear.notes)
        return head._settled(_mixed(parts, chosen), validation[1], calibrate=calibrate, max_error=max_error)

    def scores(self, vectors: Vectors) -> Scores:
        """Return shape (rows, labels), float32: calibrated probabilities that sum to 1 in each row.

        Raises DataError for vectors of other dimensions.
        """
        if not len(vectors):
            return np.zeros((0, len(self.labels)), dtype=np.float32)
        return self._tempered(_mixed(self._parts(np.asarray(vectors, dtype=np.float32)), self.share))

    def familiarity(self, vectors: Vectors) -> NDArray[np.float32]:
        """Return shape (rows,): how far each vector speaks for any label at all, as the linear head sees it."""
        return self.linear.familiarity(vectors)

    def votes(self, vectors: Vectors) -> Scores:
        """Return shape (rows, labels), float32: the share of the nearest remembered vectors' votes per label."""
        found = np.zeros((len(vectors), len(self.labels)), dtype=np.float32)
        near = min(self.neighbours, len(self.vectors))
        for start in range(0, len(vectors), _AT_ONCE):
            cosines = _units(vectors[start : start + _AT_ONCE]) @ self.vectors.T
            nearest = np.argpartition(-cosines, near - 1, axis=1)[:, :near]
            close = np.take_along_axis(cosines, nearest, axis=1)
            weights = softmax(close / _WIDTH).astype(np.float32)
            rows = np.repeat(np.arange(start, start + len(cosines)), near)
            np.add.at(found, (rows, self.numbers[nearest].ravel()), weights.ravel())
        return found

    def save(self, folder: Path) -> None:
        """Write `head.safetensors` and `head.json` into an existing folder. No pickle."""
        meta = {
            "linear": self.linear.meta(),
            "share": self.share,
            "neighbours": self.neighbours,
            "temperature": self.temperature,
            "threshold": self.threshold,
            "notes": list(self.notes),
        }
        arrays = {f"{_PREFIX}{name}": array for name, array in self.linear.arrays().items()}
        write_head(folder, TYPE, meta, {**arrays, "vectors": self.vectors, "numbers": self.numbers})

    @classmethod
    def load(cls, folder: Path) -> MemoryHead:
        """Read what `save` wrote. Raises ArtifactError when the two files do not fit together."""
        meta, arrays = read_head(folder, TYPE)
        inner = {name.removeprefix(_PREFIX): array for name, array in arrays.items() if name.startswith(_PREFIX)}
        linear = LinearHead.of(meta["linear"], inner, where=folder.name)
        vectors, numbers = arrays["vectors"], arrays["numbers"]
        fits = vectors.ndim == 2 and vectors.shape == (len(numbers), linear.dimensions) and len(numbers) > 0
        if not fits or numbers.min() < 0 or numbers.max() >= len(linear.labels):
            raise ArtifactError(
                f"The head in {folder.name} remembers vectors of {len(linear.labels)} labels",
                f"Its memory has shape {vectors.shape} and {len(numbers)} labels",
                "train it again with: mercat train",
            )
        fields = {name: meta[name] for name in ("share", "neighbours", "temperature", "threshold")}
        return cls(linear, vectors, numbers, **fields, notes=tuple(meta["notes"]))

    def _parts(self, vectors: Vectors) -> tuple[Scores, Scores]:
        return self.linear.scores(vectors), self.votes(vectors)

    def _tempered(self, mixed: NDArray[Any]) -> Scores:
        return softmax(np.log(mixed) / self.temperature).astype(np.float32)

    def _settled(
        self, mixed: NDArray[Any], labels: Sequence[str], *, calibrate: bool, max_error: float | None
    ) -> MemoryHead:
        """Return the head with its temperature and threshold, by the mixture on validation rows of these labels."""
        targets, head = _targets(self.linear, labels), self
        if calibrate and (targets >= 0).any():
            known = targets >= 0
            head = replace(head, temperature=fit_temperature(np.log(mixed[known]), targets[known]))
        if max_error is None:
            return head
        threshold, notes = threshold_for(head._tempered(mixed), targets, max_error=max_error)
        return replace(head, threshold=threshold, notes=(*head.notes, *notes))


def check_memory(share: float | Literal["auto"], neighbours: int) -> None:
    """Raise ConfigError for a share that is none, or less than one neighbour."""
    if share != "auto" and not 0 <= share <= 1:
        raise ConfigError(f"memory = {share}", "It is a share", 'memory = 0.3, or "auto"')
    if neighbours < 1:
        raise ConfigError(f"neighbours = {neighbours}", "It is at least 1", "neighbours = 20")


def _mixed(parts: tuple[Scores, Scores], share: float) -> NDArray[np.float64]:
    """Return the mixture, shape (rows, labels), nowhere zero: one label more or less is never impossible."""
    linear, votes = (each.astype(np.float64) for each in parts)
    mixed = (1 - share) * linear + share * votes
    return np.asarray((1 - _LEAST) * mixed + _LEAST / mixed.shape[1])


def _merit(linear: LinearHead, mixed: NDArray[Any], labels: Sequence[str]) -> tuple[float, float]:
    targets = _targets(linear, labels)
    known = targets >= 0
    if not known.any():
        return 0.0, 0.0
    right = float((mixed[known].argmax(axis=1) == targets[known]).mean())
    return right, -nll(np.log(mixed[known]), targets[known])


def _targets(linear: LinearHead, labels: Sequence[str]) -> NDArray[np.intp]:
    """Return the column of each label, -1 for one that the head does not know. The shape is (rows,)."""
    column = {label: number for number, label in enumerate(linear.labels)}
    return np.array([column.get(label, -1) for label in labels], dtype=np.intp)


def _known(linear: LinearHead, rows: Labelled) -> tuple[Vectors, NDArray[np.int64]]:
    vectors, labels = rows
    targets = _targets(linear, labels)
    return np.asarray(vectors, dtype=np.float32)[targets >= 0], targets[targets >= 0].astype(np.int64)


def _prototypes(vectors: Vectors, numbers: NDArray[np.int64]) -> tuple[Vectors, NDArray[np.int64]]:
    known = np.unique(numbers)
    return np.stack([vectors[numbers == number].mean(axis=0) for number in known]), known


def _units(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)
