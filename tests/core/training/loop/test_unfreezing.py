from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from mercat.artifacts import load_arrays
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError
from mercat.testing.training import topic_examples, train_in
from mercat.training.classifying.full import Full
from mercat.training.loop.unfreezing import Unfreezing
from mercat.training.report import load_report

QUICK = {"learning_rate": 3e-3, "head_learning_rate": 3e-2, "batch_size": 16, "unfreeze": "gradual"}


def changed(folder, tiny_bert):
    before, after = (load_arrays(at / "model.safetensors") for at in (tiny_bert, folder / "encoder"))
    names = {name for name in before if not np.array_equal(before[name], after[name])}
    return {"embeddings" if name.startswith("embeddings") else name.split(".layer.")[1][0] for name in names}


@pytest.mark.parametrize(
    ("epochs", "learned", "note"),
    [
        (1, {"1"}, "In 1 epochs only the top 1 of 2 layers learned; what lies below did not"),
        (2, {"1", "0"}, "In 2 epochs only the top 2 of 2 layers learned; what lies below did not"),
        (3, {"1", "0", "embeddings"}, None),
    ],
)
def test_one_layer_more_learns_in_each_epoch(store, tmp_path, tiny_bert, epochs, learned, note):
    store.upsert(topic_examples(90), collection="intents")
    settings = {**QUICK, "init_head_from_linear": False, "choose_by": "loss"}  # so that the last epoch is the best
    recipe = Full(Transformer(str(tiny_bert)), collection="intents", epochs=epochs, **settings)
    artifact = train_in(tmp_path, recipe, store=store)
    assert load_report(artifact.folder).details["best_epoch"] == epochs - 1, "else this would show less"
    assert changed(artifact.folder, tiny_bert) == learned
    told = [text for text in load_report(artifact.folder).notes if "layers learned" in text]
    assert told == ([note] if note else [])


def test_what_waits_has_no_gradient_and_is_ready_again_after_the_block():
    from mercat.training.classifying.model import layer_of

    body = torch.nn.ModuleDict({"layer": torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(3))})
    body.layer[0].weight.requires_grad_(False)  # never learns
    unfreezing = Unfreezing(body, plan="gradual")
    for epoch, least in ((0, 2), (1, 1), (2, 0), (9, 0)):
        with unfreezing.at(epoch):
            learning = {name for name, weight in body.named_parameters() if weight.requires_grad}
        assert learning == {
            name for name, _ in body.named_parameters() if layer_of(name) >= least and name != "layer.0.weight"
        }
    assert [name for name, weight in body.named_parameters() if not weight.requires_grad] == ["layer.0.weight"]


def test_an_interrupted_run_gives_the_figures_of_a_whole_one(resumes, tiny_bert):
    """Interrupted in the second epoch, with one layer still at rest."""

    def make(**more):
        return Full(Transformer(str(tiny_bert)), collection="intents", epochs=3, **QUICK, **more)

    resumes(make, at=11)


def test_a_body_without_numbered_layers_is_refused():
    with pytest.raises(ConfigError, match="have no numbers"):
        Unfreezing(torch.nn.Linear(2, 2), plan="gradual")


def test_an_unknown_plan_is_refused_before_weights_load():
    with pytest.raises(ConfigError, match="Known: at-once, gradual"):
        Full(Transformer("no-such-model"), collection="intents", unfreeze="slowly")
