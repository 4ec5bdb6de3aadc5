from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("peft")

import torch

from mercat.artifacts import load_arrays
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError
from mercat.testing.training import RecipeContract, topic_examples
from mercat.training.classifying.adalora import AdaLora
from mercat.training.classifying.shrinking import Shrinking, kept
from mercat.training.report import load_report

QUICK = {"epochs": 2, "learning_rate": 5e-3, "head_learning_rate": 1e-2, "batch_size": 16, "shrink_until": 0.8}
FROM_NOTHING = {**QUICK, "init_head_from_linear": False, "choose_by": "loss"}  # so that the last epoch is the best
SIZES = {"rank": 2, "first_rank": 4}


class TestAdaLoraKeepsTheContract(RecipeContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_bert):
        self.bert = tiny_bert

    def recipe(self):
        return AdaLora(Transformer(str(self.bert)), collection="intents", **SIZES, **FROM_NOTHING)

    def fill(self, store):
        store.upsert(topic_examples(150), collection="intents")

    def test_half_of_the_singular_values_are_dropped(self, made):
        report = load_report(made[1].folder)
        assert report.details["best_epoch"] == 1, "else dropping was not done"
        assert "24 of 48 singular values were kept; the budget was 24" in report.notes  # 2 layers, 6 matrices, 4 each
        adapter = load_arrays(made[1].folder / "adapter/adapter_model.safetensors")
        ranks = [len(values) for name, values in adapter.items() if name.endswith("lora_E")]
        assert sum(ranks) == 24
        assert len(set(ranks)) > 1, "rank goes where it matters"

    def test_the_adapter_alone_gives_the_body_that_was_saved(self, made, tiny_bert):
        from peft import PeftModel
        from transformers import BertModel

        folder = made[1].folder
        alone = PeftModel.from_pretrained(BertModel.from_pretrained(tiny_bert), folder / "adapter").merge_and_unload()
        saved = load_arrays(folder / "encoder/model.safetensors")
        base = load_arrays(tiny_bert / "model.safetensors")
        for name, weight in alone.state_dict().items():
            np.testing.assert_allclose(weight.numpy(), saved[name], atol=1e-6)
        assert any(np.abs(saved[name] - base[name]).max() > 1e-3 for name in base)


def test_matrices_are_a_fiftieth_of_minilm(body_of_minilm):
    body = AdaLora(Transformer("never-read"), collection="intents").adapted(body_of_minilm())
    learning = sum(weight.numel() for weight in body.parameters() if weight.requires_grad)
    assert learning == 6 * 9 * (4 * (384 + 384 + 1) + 2 * (384 + 1536 + 1))
    assert learning < 0.02 * sum(weight.numel() for weight in body.parameters())


@pytest.mark.parametrize("at", [7, 15])
def test_an_interrupted_run_gives_the_figures_of_a_whole_one(resumes, tiny_bert, at):
    """Interrupted of 16 updates while values are dropped, and after the last were: same weights, same ranks."""

    def make(**more):
        return AdaLora(Transformer(str(tiny_bert)), collection="intents", **SIZES, **FROM_NOTHING, **more)

    resumed, whole = resumes(make, at=at)
    ours, theirs = (load_arrays(each.folder / "adapter/adapter_model.safetensors") for each in (resumed, whole))
    assert {name: array.shape for name, array in ours.items()} == {name: array.shape for name, array in theirs.items()}
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], atol=1e-6)


def small(updates, shrink=(0.1, 0.7), orthogonality=0.5):
    """Return AdaLoRA beside one random matrix of 6 x 5, and what steers it."""
    recipe = AdaLora(Transformer("never-read"), collection="intents", targets=["0"], **SIZES)
    body = recipe.adapted(torch.nn.Sequential(torch.nn.Linear(5, 6))).base_model
    return body, Shrinking(body, updates=updates, shrink=shrink, orthogonality=orthogonality)


def test_the_penalty_is_nothing_for_singular_vectors_at_right_angles():
    body, steering = small(10)
    (a,), (b,) = ([w for name, w in body.model.named_parameters() if part in name] for part in ("lora_A", "lora_B"))
    with torch.no_grad():
        a.copy_(torch.eye(4, 5))
        b.copy_(torch.eye(6, 4))
    assert steering.penalty().item() == 0
    with torch.no_grad():
        b.zero_()
    assert steering.penalty().item() == pytest.approx(0.5 * (0 + 2) / 2), "the identity of 4 x 4 has norm 2"


def test_values_that_matter_least_are_dropped():
    body, steering = small(10)
    (values,) = (w for name, w in body.model.named_parameters() if "lora_E" in name)
    with torch.no_grad():
        values.copy_(torch.tensor([[0.01], [5.0], [4.0], [0.02]]))
    for update in range(1, 8):
        for name, weight in body.model.named_parameters():
            weight.grad = torch.ones_like(weight)
        with torch.no_grad():  # so that importance moves, else the averages are certain and every product is 0
            values.mul_(0.95)
        steering.stepped(update)
    assert list(kept(body).values()) == [[False, True, True, False]]
    assert steering.note() == "2 of 4 singular values were kept; the budget was 2"


def test_too_few_updates_are_refused():
    with pytest.raises(ConfigError, match="AdaLoRA in 2 updates"):
        small(2)


@pytest.mark.parametrize(
    "settings", [{"rank": 9}, {"shrink_until": 0.05}, {"shrink_until": 1.0}, {"orthogonality": -1}]
)
def test_settings_that_cannot_be_are_refused_before_weights_load(settings):
    (name,) = settings
    with pytest.raises(ConfigError, match=f"{name} = "):
        AdaLora(Transformer("no-such-model"), collection="intents", **settings)
