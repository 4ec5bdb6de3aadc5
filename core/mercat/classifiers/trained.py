"""A classifier made of a trained artifact: the shared encoder and its head, or the artifact's own encoder and head."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import Artifact, Artifacts
from mercat.classifiers.base import Prediction
from mercat.encoders.backends import Backend
from mercat.encoders.base import Encoder, Role
from mercat.errors import ConfigError, FingerprintError
from mercat.heads import Head, load_head


@dataclass(frozen=True, slots=True)
class _Loaded:
    """One version of the artifact, complete: readers take it in one step and never see half of two versions."""

    artifact: Artifact
    head: Head
    encoder: Encoder
    role: Role


class TrainedClassifier:
    """Scores the labels that the current version of `artifact` was trained on.

    An artifact with a folder `encoder/` brings its own body, a fine-tuned transformer; any other needs the `encoder`
    that its head was fitted with. `backend` is what a body of its own runs on, as for `Transformer`. The artifact is
    opened on the first question, its weights with it; `warm_up` does that beforehand. `threshold` replaces the one that
    was chosen in training. Safe to ask from several threads. Raises ConfigError for a threshold that is no probability.
    """

    def __init__(
        self,
        artifacts: Artifacts,
        *,
        artifact: str,
        encoder: Encoder | None = None,
        threshold: float | None = None,
        backend: Backend = "auto",
        workspace_folder: Path | None = None,
    ) -> None:
        if threshold is not None and not 0.0 <= threshold <= 1.0:
            raise ConfigError(
                f"The classifier '{artifact}' has threshold {threshold}", "It is a probability", "threshold = 0.5"
            )
        self._artifacts, self._name, self._encoder, self._threshold = artifacts, artifact, encoder, threshold
        self._backend, self._workspace = backend, workspace_folder
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    @property
    def labels(self) -> Sequence[str]:
        """The labels that it can give. Opens the artifact."""
        return self._open().head.labels

    @property
    def threshold(self) -> float:
        """The confidence below which a prediction abstains."""
        return self._open().head.threshold if self._threshold is None else self._threshold

    @property
    def artifact(self) -> Artifact:
        """The artifact that answers now, in its current version."""
        return self._open().artifact

    @property
    def version(self) -> str:
        """The version of the artifact that answers now."""
        return self._open().artifact.version

    @property
    def parameters(self) -> int:
        """How many weights the encoder has that answers; the head's few are not among them. Opens the artifact."""
        return self._open().encoder.info().parameters

    def warm_up(self) -> None:
        """Open the artifact and load the weights now."""
        self._open().encoder.warm_up()

    def reload(self) -> bool:
        """Take over the artifact's current version if it is another one; say whether it was.

        The new version is opened and checked first: when that fails the error is raised and the old one stays.
        """
        current = self._artifacts.current(self._name)
        with self._lock:
            if self._loaded is not None and self._loaded.artifact.version == current:
                return False
            self._loaded = self._load()
            return True

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return shape (len(texts), len(labels)): calibrated probabilities, columns in the order of `labels`."""
        return _scores(self._open(), texts)

    def familiarity(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return shape (len(texts),): how far each text speaks for any label at all; low for what belongs to none.

        Values compare within one version of the artifact only.
        """
        loaded = self._open()
        if not texts:
            return np.zeros(0, dtype=np.float32)
        return loaded.head.familiarity(loaded.encoder.encode(texts, role=loaded.role))

    def predict_many(self, texts: Sequence[str], *, top: int = 5) -> list[Prediction]:
        """Return one Prediction per text with its `top` labels, best first."""
        loaded = self._open()  # once: a reload in between must not mix two versions
        threshold = loaded.head.threshold if self._threshold is None else self._threshold
        scores = _scores(loaded, texts)
        order = np.argsort(-scores, axis=1, kind="stable")[:, : max(top, 1)]
        return [
            _prediction(loaded.head.labels, row, places, threshold) for row, places in zip(scores, order, strict=True)
        ]

    def _open(self) -> _Loaded:
        loaded = self._loaded
        if loaded is not None:
            return loaded
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> _Loaded:
        artifact = self._artifacts.open(self._name)
        head = load_head(artifact.folder / "head")
        own = artifact.folder / "encoder"
        encoder = self._own_body(own) if own.is_dir() else self._encoder
        if encoder is None:
            raise ConfigError(
                f"The classifier '{self._name}' needs an encoder",
                f"Its artifact holds a head for vectors of '{head.fingerprint}' and no body of its own",
                f'encoder = "default" in [classifiers.{self._name}]',
            )
        _require_same_space(encoder.fingerprint, head, self._name)
        return _Loaded(artifact, head, encoder, _role(artifact))

    def _own_body(self, folder: Path) -> Encoder:
        from mercat.encoders.transformer import Transformer

        return Transformer.from_folder(folder, backend=self._backend, workspace_folder=self._workspace)


def _scores(loaded: _Loaded, texts: Sequence[str]) -> NDArray[np.float32]:
    if not texts:
        return np.zeros((0, len(loaded.head.labels)), dtype=np.float32)
    return loaded.head.scores(loaded.encoder.encode(texts, role=loaded.role))


def _prediction(
    labels: Sequence[str], scores: NDArray[np.float32], places: NDArray[np.intp], threshold: float
) -> Prediction:
    best = [float(scores[place]) for place in places]
    return Prediction([labels[place] for place in places], best, abstained=best[0] < threshold)


def _role(artifact: Artifact) -> Role:
    """Return the role in which training encoded the texts; questions must be encoded alike."""
    role = artifact.details.get("role") or artifact.config.get("role") or "document"
    return "query" if role == "query" else "document"


def _require_same_space(fingerprint: str, head: Head, name: str) -> None:
    if fingerprint != head.fingerprint:
        raise FingerprintError(
            f"The classifier '{name}' was trained on vectors of '{head.fingerprint}'",
            f"Its encoder here makes vectors of '{fingerprint}'",
            f"name the encoder it was trained with in mercat.toml, or: mercat train {name}",
        )
