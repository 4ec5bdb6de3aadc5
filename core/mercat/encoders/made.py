"""Encoders that recipes made: a folder inside an artifact, named in the config like a model."""

from __future__ import annotations

from pathlib import Path

from mercat.artifacts import Artifacts
from mercat.errors import ArtifactError, ConfigError

IN_ARTIFACT = "encoder"
"""The folder inside an artifact that holds the model."""


def require_one_source(model: str, artifact: str, artifacts: Artifacts | None) -> None:
    """Raise ConfigError unless an encoder is told where its model is, in one way."""
    if bool(model) == bool(artifact):
        found = "It has both" if model else "It has neither"
        raise ConfigError("An encoder has a model or an artifact", found, 'artifact = "small", or model = …')
    if artifact and artifacts is None:
        raise ConfigError(f"artifact = '{artifact}'", "There is no workspace to look in", "artifacts = Artifacts(…)")


def encoder_folder(artifacts: Artifacts, name: str) -> Path:
    """Return the folder of the encoder in an artifact's current version, whose files have been checked.

    Raises ArtifactError for an artifact without one, such as a head on a shared encoder.
    """
    artifact = artifacts.open(name)
    folder = artifact.folder / IN_ARTIFACT
    if not folder.is_dir():
        found = f"Version {artifact.version} is a {artifact.kind} of the recipe '{artifact.recipe}' without one"
        raise ArtifactError(f"artifact = '{name}' of an encoder", found, "an artifact of a recipe that makes encoders")
    return folder
