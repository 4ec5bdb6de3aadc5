"""What objectives that call themselves divisible promise: the loss of a batch is the weighted mean of its parts'."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from mercat.heads.tags import TagHead
from mercat.predictors.words import Window
from mercat.training.loop.pooled import Fitting, PooledModel, Rows
from mercat.training.pairing.task import Task
from mercat.training.tagging.model import WordTagger
from mercat.training.tagging.objective import Stretch, Tagging
from mercat.training.vectors.multi_label import SeveralTask
from mercat.training.vectors.regression import NumberTask


class Body(torch.nn.Module):
    """Embeds tokens and does no more."""

    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(30, 8)

    def get_input_embeddings(self):
        return self.words

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None, **more):
        found = self.words(input_ids) if inputs_embeds is None else inputs_embeds
        return type("Out", (), {"last_hidden_state": found})


def pooled(outputs):
    return PooledModel(Body(), pooling="mean", dimensions=8, outputs=outputs, unit=True, dropout=0.0)


def rows(targets):
    random = np.random.default_rng(1)
    return Rows([list(random.integers(1, 30, size=random.integers(2, 9))) for _ in range(12)], targets)


def tagging():
    random, windows = np.random.default_rng(2), []
    for number in range(12):
        size = int(random.integers(1, 7))
        ids = [2, *map(int, random.integers(4, 30, size=size)), 3]
        window = Window(ids, [int(kind) for kind in random.integers(6, size=len(ids))], list(range(1, size + 1)), 0)
        windows.append(Stretch(window, number, random.integers(3, size=size)))
    head = TagHead(("O", "B-A", "I-A"), np.zeros((3, 8), np.float32), np.zeros(3, np.float32), "")
    more = {"texts": [], "judge": head, "pad_id": 0, "label_smoothing": 0.1, "score_batch": 4}
    return Tagging(windows, [], **more), WordTagger(Body(), dimensions=8, tags=3, shapes=True)


def fitting(task, targets):
    train = rows(targets)
    return Fitting(train, train, pad_id=0, loss=task.loss, judge=task.judge), pooled(
        task.outputs if hasattr(task, "outputs") else 3
    )


RANDOM = np.random.default_rng(0)
MAKE = {
    "tags": tagging,
    "pairs": lambda: fitting(Task(labels=("a", "b", "c"), positive="a"), RANDOM.integers(3, size=12)),
    "pairs with numbers": lambda: fitting(Task(), RANDOM.normal(size=12).astype(np.float32)),
    "several labels": lambda: fitting(
        SeveralTask(("a", "b", "c"), lambda row: ()), (RANDOM.random((12, 3)) < 0.5).astype(np.float32)
    ),
    "numbers": lambda: fitting(NumberTask(0, 1, loss="huber", coverage=0.9), RANDOM.normal(size=12).astype(np.float32)),
}


@pytest.mark.parametrize("name", MAKE)
def test_the_loss_of_a_batch_is_the_mean_of_its_parts_by_their_weights(name):
    objective, model = MAKE[name]()
    assert objective.divisible
    model.eval()
    whole = objective.step(model, np.arange(12))
    parts = [np.arange(5), np.arange(5, 12)]
    steps = [objective.step(model, part) for part in parts]
    weights = [step.weight or len(part) for step, part in zip(steps, parts, strict=True)]
    mean = sum(step.loss.item() * weight for step, weight in zip(steps, weights, strict=True)) / sum(weights)
    assert whole.loss.item() == pytest.approx(mean, rel=1e-5)
    assert (whole.weight or 12) == sum(weights)
    whole.loss.backward()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in model.parameters())
