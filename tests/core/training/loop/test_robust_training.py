"""Adversarial steps and averaged epochs: what they compute, and that a run goes on with them after a kill."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file

from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError, DataError
from mercat.testing.training import topic_examples, train_in
from mercat.training.classifying.full import Full
from mercat.training.classifying.lora import Lora
from mercat.training.classifying.objective import Labelled
from mercat.training.loop.adversary import Adversary
from mercat.training.loop.batches import Encoded
from mercat.training.loop.checkpoint import Checkpoints
from mercat.training.loop.loop import Loop
from mercat.training.loop.objective import Step
from mercat.training.loop.settings import LoopSettings
from mercat.training.report import load_report

QUICK = {"epochs": 3, "learning_rate": 3e-3, "head_learning_rate": 3e-2, "batch_size": 16}


class Bag(torch.nn.Module):
    """Mean of word embeddings, then a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(20, 6)
        self.head = torch.nn.Linear(6, 2)

    def forward(self, ids, mask):
        kept = mask[..., None].float()
        return self.head((self.words(ids) * kept).sum(1) / kept.sum(1))


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    ids = torch.randint(1, 20, (8, 5))
    mask = torch.ones_like(ids)
    mask[0, 3:] = 0
    return ids, mask, torch.tensor([0, 1] * 4)


def test_an_attack_moves_each_text_by_its_length_towards_a_higher_loss():
    torch.manual_seed(1)
    model, seen = Bag(), {}
    ids, mask, targets = batch()
    loss_of = torch.nn.CrossEntropyLoss(reduction="none")
    adversary = Adversary(model.words, size=0.5)
    with adversary.watching():
        before = loss_of(model(ids, mask), targets)
    before.mean().backward()
    plain = model.words(ids).detach()
    with adversary.attacking():
        model.words.register_forward_hook(lambda module, inputs, output: seen.update(moved=output.detach()))
        after = loss_of(model(ids, mask), targets)
    shift = seen["moved"] - plain
    kept = mask[..., None].float()
    lengths = (plain * kept).flatten(1).norm(dim=1)
    assert torch.allclose(shift.flatten(1).norm(dim=1), 0.5 * lengths, rtol=1e-4)
    assert bool((after > before).all()), "each text became harder"
    assert float(shift[0, 3:].abs().max()) == 0, "padding stays where it is"
    assert torch.equal(model.words(ids).detach(), plain), "and the weights were never moved"


def test_an_attack_needs_what_it_attacks():
    with pytest.raises(RuntimeError, match="watched"), Adversary(Bag().words, size=1.0).attacking():
        pass


def test_frozen_embeddings_can_be_attacked_too():
    model = Bag()
    model.words.requires_grad_(False)
    ids, mask, targets = batch()
    loss_of, adversary = torch.nn.CrossEntropyLoss(), Adversary(model.words, size=1.0)
    with adversary.watching():
        loss = loss_of(model(ids, mask), targets)
    loss.backward()
    with adversary.attacking():
        assert loss_of(model(ids, mask), targets) > loss
    assert model.words.weight.grad is None


def loop_of(folder, **settings):
    torch.manual_seed(0)
    model = Bag()
    random = np.random.default_rng(0)
    rows = [random.integers(1, 20, random.integers(2, 9)).tolist() for _ in range(40)]
    part = Encoded(rows, np.array([int(sum(row) > 45) for row in rows], dtype=np.int64))
    chosen = LoopSettings(**{"epochs": 4, "batch_size": 8, "learning_rate": 1e-2, **settings})
    return Loop(
        model,
        chosen,
        objective=Labelled(part, part, pad_id=0),
        checkpoints=Checkpoints(folder, "run"),
        seed=0,
        progress=lambda *stage, **figures: None,
        clock=iter(np.arange(1e6)).__next__,
        adversary=Adversary(model.words, size=chosen.adversarial) if chosen.adversarial else None,
    )


def test_the_average_is_the_mean_of_the_last_epochs(tmp_path):
    """Where validation cannot tell them apart, the mean is taken; it is the mean of exactly the last three."""
    loop, after = loop_of(tmp_path, average_epochs=3, choose_by="accuracy"), []
    loop._on_epoch = [lambda figures: after.append(loop.model.head.weight.detach().clone())]
    loop._merit = lambda figures: 0.5
    outcome = loop.run()
    assert outcome.averaged == 3
    assert len(after) == 4
    assert torch.allclose(loop.model.head.weight, torch.stack(after[1:]).mean(dim=0), atol=1e-6)


def test_an_average_that_is_worse_is_not_taken(tmp_path):
    loop = loop_of(tmp_path, average_epochs=3)
    merits = iter([0.2, 0.9, 0.3, 0.4, 0.1])
    loop._merit = lambda figures: next(merits)
    after = []
    loop._on_epoch = [lambda figures: after.append(loop.model.head.weight.detach().clone())]
    outcome = loop.run()
    assert (outcome.averaged, outcome.best_epoch) == (0, 1)
    assert torch.equal(loop.model.head.weight.detach(), after[1])


def test_a_run_that_was_cut_gives_the_same_average(tmp_path):
    whole = loop_of(tmp_path / "whole", average_epochs=3, adversarial=0.5)
    whole.run()
    for cut in (3, 7, 12, 19):  # within epochs 1, 2, 3 and 4
        folder = tmp_path / f"cut{cut}"
        first = loop_of(folder, average_epochs=3, adversarial=0.5, checkpoint_every_s=0)

        def stop(stage, done, total, cut=cut, **figures):
            if stage == "train" and done == cut:
                raise KeyboardInterrupt

        first._progress = stop
        with pytest.raises(KeyboardInterrupt):
            first.run()
        again = loop_of(folder, average_epochs=3, adversarial=0.5)
        assert again.run().resumed_at == cut - 1
        for name, weight in whole.model.state_dict().items():
            assert torch.allclose(weight, again.model.state_dict()[name], atol=1e-6), (cut, name)


def test_epochs_of_an_earlier_run_are_not_averaged_in(tmp_path):
    loop_of(tmp_path, average_epochs=4).run()
    other = loop_of(tmp_path, average_epochs=2, epochs=2)
    other._checkpoints.digest = "another"
    other._merit = lambda figures: 0.5
    assert other.run().averaged == 2


@pytest.mark.parametrize(("recipe", "rate"), [(Full, 3e-3), (Lora, 1e-2)])
def test_recipes_train_against_an_adversary_and_average(store, tmp_path, tiny_bert, recipe, rate):
    store.upsert(topic_examples(150), collection="intents")
    made = recipe(
        Transformer(str(tiny_bert)),
        collection="intents",
        adversarial=0.1,
        average_epochs=2,
        choose_by="loss",
        **{**QUICK, "learning_rate": rate},
    )
    artifact = train_in(tmp_path, made, store=store)
    report = load_report(artifact.folder)
    losses = [epoch["train"]["loss"] for epoch in report.details["history"]]
    assert losses[-1] < losses[0]
    assert report.metrics["accuracy"].value > 0.5, "three labels"
    assert report.details["averaged_epochs"] in (0, 2)


class Poisoned(Labelled):
    """Gives a loss that is no number at the update `at`."""

    def __init__(self, part, *, at):
        super().__init__(part, part, pad_id=0)
        self.left = at

    def step(self, model, rows):
        step, self.left = super().step(model, rows), self.left - 1
        return step if self.left else Step(step.loss * float("nan"), step.figures)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_weights(tmp_path):
    loop = loop_of(tmp_path)
    loop.objective = Poisoned(loop.objective.train, at=7)
    with pytest.raises(DataError, match="loss of nan after 6 updates, in epoch 2") as raised:
        loop.run()
    kept = tmp_path / (tmp_path / "latest").read_text().strip()
    assert str(kept) in str(raised.value)
    weights = load_file(kept / "model.safetensors")
    assert all(torch.isfinite(weight).all() for weight in weights.values())
    again = loop_of(tmp_path)
    assert again.run().resumed_at == 6  # the same settings go on from there


def test_a_gradient_that_is_no_number_is_not_taken(tmp_path):
    loop = loop_of(tmp_path)
    loop.model.head.weight.register_hook(lambda gradient: gradient / 0.0)
    before = loop.model.words.weight.detach().clone()
    with pytest.raises(DataError, match=r"gradient of (nan|inf) after 0 updates"):
        loop.run()
    assert torch.equal(loop.model.words.weight, before)


def test_an_unknown_figure_cannot_choose_the_best_epoch(tmp_path):
    with pytest.raises(ConfigError, match=r"choose_by = 'bleu'.*loss, accuracy, macro_f1"):
        loop_of(tmp_path, choose_by="bleu").run()
