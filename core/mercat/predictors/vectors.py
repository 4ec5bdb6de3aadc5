"""Parts made of an encoder, shared or the artifact's own, and a head on its vectors: labels, numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import Artifact, Artifacts
from mercat.artifacts.current import Current
from mercat.encoders.base import Encoder, Role, Vectors
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError, FingerprintError
from mercat.heads.numbers import NumberHead
from mercat.heads.several import SeveralHead
from mercat.predictors.base import Estimate, Scored

HEAD, ENCODER = "head", "encoder"
ROLE: Role = "query"  # a text that is asked about, as classifiers encode it: one vector for both


class _Fitted(Protocol):
    @property
    def fingerprint(self) -> str: ...


H = TypeVar("H", bound=_Fitted)


@dataclass(frozen=True, slots=True)
class OnVectors(Generic[H]):
    """A head and the encoder whose vectors it was fitted on."""

    head: H
    encoder: Encoder

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """Return a unit vector per text. The shape is (texts, dimensions)."""
        return self.encoder.encode(texts, role=ROLE)


def open_on_vectors(folder: Path, load: Callable[[Path], H], *, encoder: Encoder | None) -> OnVectors[H]:
    """Return what the folder of an artifact answers with: its own encoder where it has one, else the one given.

    Raises ConfigError where an encoder is needed and none was given, FingerprintError for another one.
    """
    head = load(folder / HEAD)
    own = (folder / ENCODER / "config.json").is_file()
    found = Transformer.from_folder(folder / ENCODER) if own else encoder
    if found is None:
        lacking = f"Its head is for vectors of '{head.fingerprint}', and it has no body of its own"
        raise ConfigError(f"The artifact in {folder.name} needs an encoder", lacking, 'encoder = "default"')
    if found.fingerprint != head.fingerprint:
        raise FingerprintError(
            f"The head in {folder.name} was fitted on vectors of '{head.fingerprint}'",
            f"The encoder here makes vectors of '{found.fingerprint}'",
            "name the encoder it was trained with in mercat.toml, or train it again",
        )
    return OnVectors(head, found)


class _Trained(Generic[H]):
    """What the parts below share. The artifact is opened on the first question, its weights with it."""

    kind = ""
    recipe = ""

    def __init__(
        self, artifacts: Artifacts, artifact: str, encoder: Encoder | None, *, load: Callable[[Path], H]
    ) -> None:
        def opened(found: Artifact) -> OnVectors[H]:
            if found.kind != self.kind:
                what = f"'{found.name}' is of kind '{found.kind}', made by '{found.recipe}'"
                cure = f"use = '{self.recipe}' in its section of [recipes]"
                raise ArtifactError(f"A {self.kind} was expected", what, cure)
            return open_on_vectors(found.folder, load, encoder=encoder)

        self._current = Current(artifacts, artifact, load=opened)

    @property
    def version(self) -> str:
        """The version of the artifact that answers now."""
        return self._current.version

    def warm_up(self) -> None:
        """Open the artifact and load the weights now."""
        self._current.get().encoder.warm_up()

    def reload(self) -> bool:
        """Take over the artifact's current version if it is another one; say whether it was."""
        return self._current.reload()


class TrainedLabeller(_Trained[SeveralHead]):
    """Gives the labels that the current version of `artifact`, made by the recipe `multi-label`, was trained on.

    An artifact that was not fine-tuned needs the `encoder` that its head was fitted with. Safe to ask from several
    threads.
    """

    kind, recipe = "labeller", "multi-label"

    def __init__(self, artifacts: Artifacts, *, artifact: str, encoder: Encoder | None = None) -> None:
        super().__init__(artifacts, artifact, encoder, load=SeveralHead.load)

    @property
    def labels(self) -> Sequence[str]:
        """The labels that it can give. Opens the artifact."""
        return self._current.get().head.labels

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return shape (len(texts), len(labels)): the calibrated probability of each label by itself."""
        made = self._current.get()
        return made.head.scores(made.vectors(texts))

    def label_many(self, texts: Sequence[str]) -> list[list[Scored]]:
        """Return the labels at or above their thresholds for each text, likeliest first."""
        made = self._current.get()  # once: a reload in between must not mix two versions
        scores = made.head.scores(made.vectors(texts))
        found = []
        for row, given in zip(scores, made.head.given(scores), strict=True):
            some = [Scored(made.head.labels[at], float(row[at])) for at in np.flatnonzero(given)]
            found.append(sorted(some, key=lambda scored: -scored.score))
        return found


class TrainedRegressor(_Trained[NumberHead]):
    """Reads off a text the number that the current version of `artifact`, made by `regression`, has learned.

    An artifact that was not fine-tuned needs the `encoder` that its head was fitted with. Safe to ask from several
    threads.
    """

    kind, recipe = "regressor", "regression"

    def __init__(self, artifacts: Artifacts, *, artifact: str, encoder: Encoder | None = None) -> None:
        super().__init__(artifacts, artifact, encoder, load=NumberHead.load)

    @property
    def coverage(self) -> float:
        """The share of true numbers that lie within their interval, 0 to 1. Opens the artifact."""
        return self._current.get().head.coverage

    def estimate_many(self, texts: Sequence[str]) -> list[Estimate]:
        """Return one Estimate per text; its interval is infinite where too few rows could promise one."""
        made = self._current.get()
        values = made.head.values(made.vectors(texts))
        return [
            Estimate(float(value), float(value) - made.head.margin, float(value) + made.head.margin) for value in values
        ]
