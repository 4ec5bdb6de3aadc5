from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from mercat.artifacts import Artifacts, load_arrays
from mercat.classifiers.trained import TrainedClassifier
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError
from mercat.testing.training import RecipeContract, topic_examples
from mercat.training.classifying.adapter import Adapter
from mercat.training.report import load_report

QUICK = {"epochs": 2, "learning_rate": 1e-2, "head_learning_rate": 3e-2, "batch_size": 16, "reduction": 8}


class TestAdapterKeepsTheContract(RecipeContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_bert):
        self.bert = tiny_bert

    def recipe(self):
        return Adapter(Transformer(str(self.bert)), collection="intents", **QUICK)

    def fill(self, store):
        store.upsert(topic_examples(150), collection="intents")

    def test_the_body_is_as_it_was_and_adapters_lie_beside_it(self, made, tiny_bert):
        folder = made[1].folder / "encoder"
        before, after = load_arrays(tiny_bert / "model.safetensors"), load_arrays(folder / "model.adapted.safetensors")
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[name], after[name]) for name in before)
        adapters = load_arrays(folder / "adapters.safetensors")
        assert len(adapters) == 2 * 2 * 4, "layers, places, tensors"
        assert np.abs(adapters["encoder.layer.1.attention.output.dense.adapter.up.weight"]).max() > 0
        assert load_report(made[1].folder).counts["trainable_parameters"] == 4 * (2 * 4 * 32 + 4 + 32) + 3 * 33

    def test_an_answer_is_made_with_the_adapters(self, made, tiny_bert):
        folder, artifact = made
        classifier = TrainedClassifier(Artifacts(folder / "artifacts"), artifact="intents")
        with_them = Transformer.from_folder(artifact.folder / "encoder")
        assert classifier.predict_many(["stolen card"])[0].label == "card"
        assert with_them.fingerprint == artifact.encoder_fingerprint
        without = Transformer(str(tiny_bert)).encode(["stolen card"], role="query")
        assert np.abs(with_them.encode(["stolen card"], role="query") - without).max() > 1e-3
        assert load_report(artifact.folder).details["serving_difference"] < 1e-4


@pytest.mark.parametrize(("placement", "places"), [("houlsby", 2), ("pfeiffer", 1)])
def test_adapters_are_a_hundredth_of_minilm(body_of_minilm, placement, places):
    recipe = Adapter(Transformer("never-read"), collection="intents", placement=placement)
    body = recipe.adapted(body_of_minilm())
    learning = sum(weight.numel() for weight in body.parameters() if weight.requires_grad)
    assert learning == 6 * places * (2 * 24 * 384 + 24 + 384)
    assert learning < 0.0051 * places * sum(weight.numel() for weight in body.parameters())


def test_an_interrupted_run_gives_the_figures_of_a_whole_one(resumes, tiny_bert):
    def make(**more):
        return Adapter(Transformer(str(tiny_bert)), collection="intents", placement="pfeiffer", **QUICK, **more)

    resumes(make, at=11)


def test_adapters_are_not_mixed_with_those_of_peft(body_of_minilm):
    pytest.importorskip("peft")
    from mercat.training.classifying.lora import Lora

    body = Adapter(Transformer("never-read"), collection="intents").adapted(body_of_minilm())
    with pytest.raises(ConfigError, match="which cannot be merged with others"):
        Lora(Transformer("never-read"), collection="intents").adapted(body)


def test_a_reduction_below_one_is_refused_before_weights_load():
    with pytest.raises(ConfigError, match="reduction = 0"):
        Adapter(Transformer("no-such-model"), collection="intents", reduction=0)
