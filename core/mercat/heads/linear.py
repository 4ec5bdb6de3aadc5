"""Multinomial logistic regression over vectors: fitted with scikit-learn, asked with numpy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mercat.errors import ArtifactError, DataError, missing_extra
from mercat.heads.abstain import threshold_for
from mercat.heads.base import Scores, Vectors
from mercat.heads.calibrate import IsotonicTables, fit_isotonic, fit_temperature, softmax
from mercat.heads.files import read_head, write_head

if TYPE_CHECKING:
    from mercat.heads.fitting import Labelled

Calibration = Literal["temperature", "isotonic", "none"]
TYPE = "linear"
_ISOTONIC_ROWS = 50  # on BANKING77, 13 rows per label cost 2.6 points of accuracy


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Scores = softmax((vectors @ weights.T + bias) / temperature), then isotonic tables if there are any.

    `weights` has shape (labels, dimensions) and `bias` (labels,), float32. `notes` say what a person should know of the
    fit: labels dropped, a bound on the error that was not reached.
    """

    labels: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    fingerprint: str
    temperature: float = 1.0
    tables: IsotonicTables | None = None
    threshold: float = 0.0
    notes: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        vectors: Vectors,
        labels: Sequence[str],
        *,
        fingerprint: str,
        validation: Labelled | None = None,
        calibration: Calibration = "temperature",
        class_weight: Literal["balanced"] | None = None,
        strength: float | Literal["auto"] = "auto",
        max_error: float | None = None,
        seed: int = 0,
    ) -> LinearHead:
        """Fit on `vectors`, shape (rows, dimensions), and choose everything else on `validation`, (vectors, labels).

        `strength` is C, the inverse of the L2 penalty; "auto" takes the best of a grid. Without validation rows a
        stratified fifth is held out for the choices, and the weights are then fitted on all rows. `max_error` sets the
        threshold: the most coverage at which kept rows err no more; None leaves it at 0, never abstain. A label seen
        once is dropped and noted. Raises DataError when fewer than two labels remain or shapes do not match.
        """
        try:
            from mercat.heads.fitting import fit_linear
        except ModuleNotFoundError as error:
            raise missing_extra("Fitting a linear head", error.name or "scikit-learn", "train") from error

        return fit_linear(
            vectors,
            labels,
            fingerprint=fingerprint,
            validation=validation,
            calibration=calibration,
            class_weight=class_weight,
            strength=strength,
            max_error=max_error,
            seed=seed,
        )

    @property
    def dimensions(self) -> int:
        """The width of the vectors that it takes."""
        return int(self.weights.shape[1])

    def logits(self, vectors: Vectors) -> Scores:
        """Return shape (rows, labels), before temperature and tables.

        Raises DataError for vectors of other dimensions.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dimensions:
            raise DataError(
                f"The head takes vectors of {self.dimensions} dimensions",
                f"It was given an array of shape {vectors.shape}",
                "the encoder that the head was fitted with",
            )
        return np.asarray(vectors @ self.weights.T + self.bias, dtype=np.float32)

    def scores(self, vectors: Vectors) -> Scores:
        """Return shape (rows, labels), float32: calibrated probabilities that sum to 1 in each row."""
        if not len(vectors):
            return np.zeros((0, len(self.labels)), dtype=np.float32)
        found = softmax(self.logits(vectors) / self.temperature)
        if self.tables is not None:
            found = self.tables.apply(found)
        return found.astype(np.float32)

    def familiarity(self, vectors: Vectors) -> NDArray[np.float32]:
        """Return shape (rows,): how far each vector speaks for any label at all; low for what belongs to none.

        The logarithm of the sum of exp(logits), that is the negative free energy of Liu et al. 2020,
        https://arxiv.org/abs/2010.03759. Values compare within one head only.
        """
        logits = self.logits(vectors).astype(np.float64)
        peak = logits.max(axis=1, initial=-np.inf, keepdims=True)
        return np.asarray(np.log(np.exp(logits - peak).sum(axis=1)) + peak[:, 0], dtype=np.float32)

    def calibrated(
        self,
        validation: Labelled,
        *,
        method: Calibration = "temperature",
        max_error: float | None = None,
    ) -> LinearHead:
        """Return the same weights with temperature or tables, and the threshold, fitted on validation rows.

        Rows of labels that the head does not know cannot calibrate it, but count as errors for the threshold.
        """
        vectors, labels = validation
        column = {label: number for number, label in enumerate(self.labels)}
        targets = np.array([column.get(label, -1) for label in labels], dtype=np.intp)
        head = replace(self, temperature=1.0, tables=None)
        if (targets >= 0).any():
            head = head._with(method, vectors[targets >= 0], targets[targets >= 0])
        if method == "isotonic" and (targets >= 0).sum() < _ISOTONIC_ROWS * len(self.labels):
            thin = f"Isotonic tables from fewer than {_ISOTONIC_ROWS} validation rows per label: temperature is safer"
            head = replace(head, notes=(*head.notes, thin))
        if max_error is None:
            return replace(head, threshold=0.0)
        threshold, notes = threshold_for(head.scores(vectors), targets, max_error=max_error)
        return replace(head, threshold=threshold, notes=(*head.notes, *notes))

    def save(self, folder: Path) -> None:
        """Write `head.safetensors` and `head.json` into an existing folder. No pickle."""
        write_head(folder, TYPE, self.meta(), self.arrays())

    @classmethod
    def load(cls, folder: Path) -> LinearHead:
        """Read what `save` wrote. Raises ArtifactError when the two files do not fit together."""
        return cls.of(*read_head(folder, TYPE), where=folder.name)

    def meta(self) -> dict[str, Any]:
        """Return what is known of it beside its arrays, for JSON."""
        return {
            "labels": list(self.labels),
            "fingerprint": self.fingerprint,
            "temperature": self.temperature,
            "threshold": self.threshold,
            "notes": list(self.notes),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return its arrays by name: weights of shape (labels, dimensions), bias (labels,), tables if any."""
        if self.tables is None:
            return {"weights": self.weights, "bias": self.bias}
        tables = {name: getattr(self.tables, name) for name in ("x", "y", "offsets")}
        return {"weights": self.weights, "bias": self.bias, **{f"isotonic_{n}": each for n, each in tables.items()}}

    @classmethod
    def of(cls, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, where: str) -> LinearHead:
        """Return the head that gave `meta` and `arrays`. Raises ArtifactError when they do not fit together."""
        labels, weights, bias = tuple(meta["labels"]), arrays["weights"], arrays["bias"]
        if weights.shape[:1] != (len(labels),) or bias.shape != (len(labels),):
            raise ArtifactError(
                f"The head in {where} names {len(labels)} labels",
                f"Its weights have shape {weights.shape}",
                "train it again with: mercat train",
            )
        tables = None
        if "isotonic_x" in arrays:
            tables = IsotonicTables(arrays["isotonic_x"], arrays["isotonic_y"], arrays["isotonic_offsets"])
        return cls(
            labels=labels,
            weights=weights,
            bias=bias,
            fingerprint=meta["fingerprint"],
            temperature=meta["temperature"],
            tables=tables,
            threshold=meta["threshold"],
            notes=tuple(meta["notes"]),
        )

    def _with(self, method: Calibration, vectors: Vectors, targets: NDArray[np.intp]) -> LinearHead:
        if method == "temperature":
            return replace(self, temperature=fit_temperature(self.logits(vectors), targets))
        if method == "isotonic":
            return replace(self, tables=fit_isotonic(self.scores(vectors), targets))
        return self
