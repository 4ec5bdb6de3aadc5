from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("peft")

from mercat.artifacts import load_arrays
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError
from mercat.testing.training import RecipeContract, topic_examples
from mercat.training.classifying.ia3 import Ia3
from mercat.training.report import load_report

QUICK = {"epochs": 2, "learning_rate": 3e-2, "head_learning_rate": 3e-2, "batch_size": 16}


class TestIa3KeepsTheContract(RecipeContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_bert):
        self.bert = tiny_bert

    def recipe(self):
        return Ia3(Transformer(str(self.bert)), collection="intents", **QUICK)

    def fill(self, store):
        store.upsert(topic_examples(150), collection="intents")

    def test_the_saved_body_is_rescaled_as_the_adapter_says(self, made, tiny_bert):
        """Rows of key and value, biases too, times their factor; columns of the layer that takes inner activations."""
        folder = made[1].folder
        before, after = load_arrays(tiny_bert / "model.safetensors"), load_arrays(folder / "encoder/model.safetensors")
        factors = load_arrays(folder / "adapter/adapter_model.safetensors")
        assert sorted({name.rpartition(".layer.")[2] for name in factors}) == [
            f"{layer}.{part}.ia3_l"
            for layer in (0, 1)
            for part in ("attention.self.key", "attention.self.value", "output.dense")
        ]
        at = "encoder.layer.1.attention.self.key"
        factor = factors[f"base_model.model.{at}.ia3_l"]
        assert factor.shape == (32, 1)
        assert np.abs(factor - 1).max() > 0.01
        np.testing.assert_allclose(after[f"{at}.weight"], before[f"{at}.weight"] * factor, rtol=1e-5)
        np.testing.assert_allclose(after[f"{at}.bias"], before[f"{at}.bias"] * factor[:, 0], rtol=1e-5)
        at = "encoder.layer.0.output.dense"
        factor = factors[f"base_model.model.{at}.ia3_l"]
        assert factor.shape == (1, 64)
        np.testing.assert_allclose(after[f"{at}.weight"], before[f"{at}.weight"] * factor, rtol=1e-5)
        np.testing.assert_array_equal(after[f"{at}.bias"], before[f"{at}.bias"])
        counts = load_report(folder).counts
        assert counts["trainable_parameters"] == 2 * (2 * 32 + 64) + 3 * 33, "factors, and the head of three labels"
        assert json.loads((folder / "adapter/adapter_config.json").read_text())["peft_type"] == "IA3"


def test_factors_are_a_thousandth_of_minilm(body_of_minilm):
    body = Ia3(Transformer("never-read"), collection="intents").adapted(body_of_minilm())
    learning = sum(weight.numel() for weight in body.parameters() if weight.requires_grad)
    assert learning == 6 * (2 * 384 + 1536)
    assert learning < 0.001 * sum(weight.numel() for weight in body.parameters())


def test_layers_of_other_families_are_found_and_strange_ones_refused():
    import torch
    from transformers import DistilBertConfig, DistilBertModel

    recipe = Ia3(Transformer("never-read"), collection="intents")
    body = recipe.adapted(DistilBertModel(DistilBertConfig(vocab_size=9, dim=8, hidden_dim=16, n_layers=1, n_heads=2)))
    learning = {name.split(".")[-3] for name, weight in body.named_parameters() if weight.requires_grad}
    assert learning == {"k_lin", "v_lin", "lin2"}
    with pytest.raises(ConfigError, match="A Linear has no layers named like"):
        recipe.adapted(torch.nn.Linear(2, 2))


def test_an_interrupted_run_gives_the_figures_of_a_whole_one(resumes, tiny_bert):
    def make(**more):
        return Ia3(Transformer(str(tiny_bert)), collection="intents", **QUICK, **more)

    resumes(make, at=11)
