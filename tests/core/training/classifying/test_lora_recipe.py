from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("peft")

from mercat.artifacts import load_arrays
from mercat.encoders.transformer import Transformer
from mercat.testing.training import RecipeContract, topic_examples
from mercat.training.classifying.lora import Lora
from mercat.training.report import load_report


class TestLoraKeepsTheContract(RecipeContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_bert):
        self.bert = tiny_bert

    def recipe(self):
        settings = {"epochs": 2, "learning_rate": 1e-2, "head_learning_rate": 3e-2, "batch_size": 16}
        return Lora(Transformer(str(self.bert)), collection="intents", rank=4, **settings)

    def fill(self, store):
        store.upsert(topic_examples(150), collection="intents")

    def test_few_weights_learn_and_the_adapter_is_kept_alone(self, made, tiny_bert):
        artifact = made[1]
        counts = load_report(artifact.folder).counts
        assert counts["trainable_parameters"] < 0.4 * counts["parameters"]
        adapter = load_arrays(artifact.folder / "adapter/adapter_model.safetensors")
        assert all("lora_" in name for name in adapter)
        config = json.loads((artifact.folder / "adapter/adapter_config.json").read_text())
        assert config["r"] == 4

    def test_the_saved_body_has_the_adapters_merged_in(self, made, tiny_bert):
        """body after = body before + alpha / rank * B A, under the names that a plain BERT has."""
        folder = made[1].folder
        before, after = load_arrays(tiny_bert / "model.safetensors"), load_arrays(folder / "encoder/model.safetensors")
        adapter = load_arrays(folder / "adapter/adapter_model.safetensors")
        assert before.keys() == after.keys()
        name = "encoder.layer.0.attention.self.query"
        a, b = (adapter[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
        np.testing.assert_allclose(after[f"{name}.weight"] - before[f"{name}.weight"], 8.0 * b @ a, atol=1e-5)
        assert np.abs(b).max() > 0
        np.testing.assert_array_equal(
            after["embeddings.word_embeddings.weight"], before["embeddings.word_embeddings.weight"]
        )
        np.testing.assert_array_equal(after["pooler.dense.weight"], before["pooler.dense.weight"])
