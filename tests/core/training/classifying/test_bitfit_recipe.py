from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from mercat.artifacts import load_arrays
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError
from mercat.testing.training import RecipeContract, topic_examples
from mercat.training.classifying.bitfit import BitFit

QUICK = {"epochs": 2, "learning_rate": 1e-2, "head_learning_rate": 3e-2, "batch_size": 16}


class TestBitFitKeepsTheContract(RecipeContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_bert):
        self.bert = tiny_bert

    def recipe(self):
        return BitFit(Transformer(str(self.bert)), collection="intents", **QUICK)

    def fill(self, store):
        store.upsert(topic_examples(150), collection="intents")

    def test_only_biases_changed(self, made, tiny_bert):
        before = load_arrays(tiny_bert / "model.safetensors")
        after = load_arrays(made[1].folder / "encoder/model.safetensors")
        assert before.keys() == after.keys()
        changed = {name for name in before if not np.array_equal(before[name], after[name])}
        assert changed
        assert all(name.endswith(".bias") and "pooler" not in name for name in changed)
        assert {"encoder.layer.0.output.LayerNorm.bias", "encoder.layer.1.attention.self.query.bias"} <= changed


def test_biases_are_a_five_hundredth_of_minilm(body_of_minilm):
    """Per layer query, key, value, mix, shrink and 2 norms of 384, grow of 1536; the norm of the embeddings."""
    body = BitFit(Transformer("never-read"), collection="intents").adapted(body_of_minilm())
    learning = sum(weight.numel() for weight in body.parameters() if weight.requires_grad)
    assert learning == 6 * (7 * 384 + 1536) + 384
    assert learning < 0.002 * sum(weight.numel() for weight in body.parameters())


def test_an_encoder_without_biases_is_refused():
    import torch

    recipe = BitFit(Transformer("never-read"), collection="intents")
    with pytest.raises(ConfigError, match="This encoder has none"):
        recipe.adapted(torch.nn.Linear(3, 3, bias=False))


def test_an_interrupted_run_gives_the_figures_of_a_whole_one(resumes, tiny_bert):
    def make(**more):
        return BitFit(Transformer(str(tiny_bert)), collection="intents", **QUICK, **more)

    resumes(make, at=11)
