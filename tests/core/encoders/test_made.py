"""Encoders that recipes made, named by their artifact."""

from __future__ import annotations

import json

import pytest

from mercat.artifacts import Artifacts
from mercat.encoders.static import Static
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError, UnknownName


def folder_of_an_encoder(artifacts, name, **tokenizer):
    """Publish a folder that looks like a model's; nothing here loads its weights."""
    with artifacts.create(name, kind="encoder", provider="mercat", recipe="contrastive") as writer:
        folder = writer.folder / "encoder"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 8}))
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return writer.artifact


@pytest.fixture
def artifacts(tmp_path):
    return Artifacts(tmp_path / "artifacts")


@pytest.mark.parametrize("kind", [Transformer, Static])
def test_it_has_a_model_or_an_artifact(kind, artifacts):
    with pytest.raises(ConfigError, match="neither"):
        kind()
    with pytest.raises(ConfigError, match="both"):
        kind("some-model", artifact="tuned", artifacts=artifacts)
    with pytest.raises(ConfigError, match="no workspace"):
        kind(artifact="tuned")


def test_the_current_version_is_looked_for_on_the_first_use_alone(artifacts):
    encoder = Transformer(artifact="tuned", artifacts=artifacts)
    with pytest.raises(UnknownName, match="tuned"):
        _ = encoder.fingerprint
    made = folder_of_an_encoder(artifacts, "tuned")
    assert encoder._folder() == made.folder / "encoder"
    assert encoder.on("torch")._folder() == made.folder / "encoder"


def test_an_artifact_without_an_encoder_of_its_own_is_refused(artifacts):
    with artifacts.create("intents", kind="classifier", provider="mercat", recipe="linear") as writer:
        (writer.folder / "report.json").write_text("{}")
    for encoder in (
        Transformer(artifact="intents", artifacts=artifacts),
        Static(artifact="intents", artifacts=artifacts),
    ):
        with pytest.raises(ArtifactError, match="classifier of the recipe 'linear' without one"):
            _ = encoder.fingerprint


def test_a_changed_file_is_refused(artifacts):
    made = folder_of_an_encoder(artifacts, "tuned")
    (made.folder / "encoder" / "tokenizer.json").write_text("{} ")
    with pytest.raises(ArtifactError):
        _ = Transformer(artifact="tuned", artifacts=artifacts).fingerprint
