from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from mercat.artifacts import load_arrays
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError
from mercat.testing.training import RecipeContract, topic_examples, train_in
from mercat.training.report import load_report
from mercat.training.smaller.prune import Prune
from mercat.training.smaller.pruning import Pruning, linear_weights, zeros_of

QUICK = {"epochs": 3, "learning_rate": 3e-3, "head_learning_rate": 3e-2, "batch_size": 16}
LINEAR = 2 * (4 * 32 * 32 + 2 * 32 * 64)  # two layers: query, key, value, output; in and out of the feed-forward part


def zeros_in(folder):
    """Return the share of zeros in each weight of the saved body, by name."""
    saved = load_arrays(folder / "encoder/model.safetensors")
    return {name: float((array == 0).mean()) for name, array in saved.items()}


class TestPruneKeepsTheContract(RecipeContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_bert):
        self.bert = tiny_bert

    def recipe(self):
        return Prune(Transformer(str(self.bert)), collection="intents", **QUICK)

    def fill(self, store):
        store.upsert(topic_examples(150), collection="intents")

    def test_exactly_half_of_each_linear_layer_is_0_and_nothing_else(self, made):
        shares = zeros_in(made[1].folder)
        linear = {name for name in shares if name.startswith("encoder.") and ".dense.weight" in name}
        linear |= {name for name in shares if ".self." in name and name.endswith(".weight")}
        assert len(linear) == 12
        assert {shares[name] for name in linear} == {0.5}
        others = {name: share for name, share in shares.items() if name.endswith(".weight") and name not in linear}
        assert max(share for name, share in others.items() if "pooler" not in name) < 0.05

    def test_the_report_says_what_zeros_do_not_bring(self, made):
        (note,) = [each for each in load_report(made[1].folder).notes if "are 0" in each]
        assert note.startswith(f"{LINEAR // 2:,} of the {LINEAR:,} weights of linear layers are 0 (50.0%)")
        assert "no faster and the folder no smaller" in note
        assert "distill with fewer layers, quantise" in note


def test_an_interrupted_run_gives_the_figures_and_zeros_of_a_whole_one(resumes, tiny_bert):
    """Interrupted while zeros are made, at update 7 of 24: the same weights."""

    def make(**more):
        return Prune(Transformer(str(tiny_bert)), collection="intents", **QUICK, **more)

    resumed, whole = resumes(make, at=7)
    ours, theirs = (load_arrays(each.folder / "encoder/model.safetensors") for each in (resumed, whole))
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name] == 0, array == 0, err_msg=name)
        np.testing.assert_allclose(ours[name], array, atol=1e-6, err_msg=name)


def test_an_epoch_before_all_zeros_are_there_is_not_kept(store, tmp_path, tiny_bert):
    """Nothing learns, so every epoch is as good as the first; the first that is pruned is kept, patience waits."""
    store.upsert(topic_examples(150), collection="intents")
    settings = {**QUICK, "epochs": 6, "learning_rate": 0.0, "head_learning_rate": 0.0, "patience": 1}
    recipe = Prune(Transformer(str(tiny_bert)), collection="intents", amount=0.75, prune_until=0.6, **settings)
    artifact = train_in(tmp_path, recipe, store=store)
    details = load_report(artifact.folder).details
    assert details["best_epoch"] >= 3, "the last zero came in the fourth epoch"
    assert zeros_in(artifact.folder)["encoder.layer.1.output.dense.weight"] == 0.75


def steering(updates, *, amount=0.5, ramp=(0.1, 0.6)):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = torch.nn.Sequential(torch.nn.Linear(10, 10), torch.nn.LayerNorm(10), torch.nn.Embedding(3, 10))
    return body, Pruning(body, amount=amount, ramp=ramp, updates=updates)


def test_the_share_rises_on_the_cubic_curve_of_the_paper():
    body, pruning = steering(100)
    shares = []
    for update in range(1, 101):
        pruning.stepped(update)
        shares.append(zeros_of(linear_weights(body)) / 100)
    assert shares[9] == 0.0
    assert shares[34] == pytest.approx(0.5 * (1 - 0.5**3), abs=0.01), "half of the way"
    assert shares[59:] == [0.5] * 41
    assert sorted(shares) == shares


def test_the_smallest_weights_are_taken_and_stay_0_whatever_the_optimiser_does():
    body, pruning = steering(10)
    (weight,) = linear_weights(body).values()
    least = set(torch.topk(weight.detach().abs().flatten(), 50, largest=False).indices.tolist())
    for update in range(1, 8):
        pruning.stepped(update)
    assert set((weight.flatten() == 0).nonzero().flatten().tolist()) == least
    with torch.no_grad():
        weight.add_(1.0)
    pruning.stepped(8)
    assert set((weight.flatten() == 0).nonzero().flatten().tolist()) == least


def test_a_body_without_linear_layers_is_refused():
    with pytest.raises(ConfigError, match="has none"):
        Pruning(torch.nn.Embedding(3, 4), amount=0.5, ramp=(0.1, 0.6), updates=10)


@pytest.mark.parametrize(
    "settings", [{"amount": 0.0}, {"amount": 1.0}, {"prune_until": 0.05}, {"prune_until": 1.0}, {"epochs": 0}]
)
def test_settings_that_cannot_be_are_refused_before_weights_load(settings):
    (name,) = settings
    with pytest.raises(ConfigError, match=f"{name} = "):
        Prune(Transformer("no-such-model"), collection="intents", **settings)
