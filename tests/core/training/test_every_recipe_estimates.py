"""Each registered recipe says before a run what it will need, and its report holds that against what was measured."""

from __future__ import annotations

import inspect
import sys

import numpy as np
import pytest

pytest.importorskip("peft")

from mercat.artifacts import Artifacts
from mercat.classifiers.trained import TrainedClassifier
from mercat.encoders.hashing import Hashing
from mercat.encoders.transformer import Transformer
from mercat.generators.local import Local
from mercat.parts import register_core
from mercat.registry import Registry
from mercat.retrieval.fused import Fused
from mercat.retrieval.lexical import Bm25
from mercat.testing.training import topic_examples, train_in
from mercat.training.classifying.linear import Linear
from mercat.training.classifying.tuned import TunedRecipe
from mercat.training.encoding.mlm import Mlm
from mercat.training.report import load_report, report_text
from mercat.training.train import estimate, train
from mercat.values import Document, Example

QUICK = {"collection": "intents", "epochs": 1, "batch_size": 16}
TINY = {"from_scratch": True, "dimensions": 16, "layers": 1, "heads": 2, "inner": 32, "max_tokens": 16}
NUMBERS = {"card": "1", "refund": "2", "transfer": "3"}
SEVERAL = {"card": "card|ours", "refund": "refund|ours", "transfer": "transfer"}
NOTHING_LEARNS = {"zero-shot", "quantise", "distill-static"}


class Place:
    """A store with rows of every kind, and the artifacts that some recipes begin with."""

    def __init__(self, folder, store, bert, llama):
        self.folder, self.store, self.llama = folder, store, llama
        self.bert = Transformer(str(bert))
        self.artifacts = Artifacts(folder / "artifacts")
        rows = topic_examples(120)
        store.upsert(rows, collection="intents")
        store.upsert([Document(row.id, row.text) for row in rows], collection="letters")
        store.upsert([Example(row.id, row.text, NUMBERS[row.label]) for row in rows], collection="numbers")
        store.upsert(
            [Example(row.id, row.text, SEVERAL[row.label], metadata=_tags(row)) for row in rows], collection="several"
        )
        pairs = [Example(row.id, row.text, "yes" if at % 2 else "no", f"of {row.text}") for at, row in enumerate(rows)]
        store.upsert(pairs, collection="pairs")

    def trained(self, recipe, name):
        """Return the folder of an artifact that a recipe makes here."""
        options = {"store": self.store, "artifacts": self.artifacts, "scratch_root": self.folder / "before"}
        return train(recipe, name=name, recipe_name="before", **options).folder

    def shared(self):
        self.trained(Linear(self.bert, collection="intents", strength=1.0), "shared")


def _tags(row):
    words = row.text.split()
    return {"tokens": words, "tags": ["B-THING" if word in ("card", "refund", "iban") else "O" for word in words]}


def few_shot(make, at):
    return make(at.bert, **QUICK, freeze_layers=0)


def prompt(make, at):
    guessing = at.trained(Mlm(at.bert, collection="letters", epochs=1, batch_size=16), "guessing") / "encoder"
    words = {"card": "card", "refund": "refund", "transfer": "transfer"}
    return make(Transformer.from_folder(guessing), **QUICK, words=words, template="my [MASK] {}")


def distill(make, at):
    at.shared()
    teacher = TrainedClassifier(at.artifacts, artifact="shared", encoder=at.bert)
    return make(at.bert, **QUICK, teacher=teacher, layers=1)


def quantise(make, at):
    pytest.importorskip("onnxruntime")
    at.shared()
    return make(at.artifacts, artifact="shared", collection="intents", encoder=at.bert, max_drop=1.0)


def update(make, at):
    at.trained(Linear(Hashing(), collection="intents", strength=10.0), "intents")
    at.store.upsert(topic_examples(60, seed=9), collection="intents")
    return make(Hashing(), at.artifacts, collection="intents", strength=10.0, max_drop=1.0, max_label_drop=1.0)


def generate(make, at):
    return make(
        Local(str(at.llama), device="cpu", dtype="float32"),
        **{**QUICK, "collection": "pairs"},
        compared=4,
        answer_tokens=6,
    )


def contrastive(make, at):
    return make(at.bert, **{**QUICK, "collection": "pairs"}, hard_negatives=1)


def fusion(make, at):
    at.store.upsert([Document(str(number), f"card number {number}") for number in range(120)], collection="help")
    asked = [Example(f"q{number}", f"where is card {number}", str(number)) for number in range(120)]
    at.store.upsert(asked, collection="questions")
    legs = [Bm25(at.store, collection="help"), Bm25(at.store, collection="help", stems=False)]
    return make(Fused(legs), collection="questions")


OTHERS = {
    "linear": lambda make, at: make(Hashing(), collection="intents"),
    "zero-shot": lambda make, at: make(Hashing(), collection="intents", labels={"card": "card", "refund": "refund"}),
    "few-shot": few_shot,
    "prompt": prompt,
    "distill": distill,
    "quantise": quantise,
    "update": update,
    "tokens": lambda make, at: make(at.bert, **{**QUICK, "collection": "several"}),
    "pairs": lambda make, at: make(at.bert, **{**QUICK, "collection": "pairs"}),
    "multi-label": lambda make, at: make(at.bert, **{**QUICK, "collection": "several"}, adapt="full"),
    "multi-label, frozen": lambda make, at: make(Hashing(), collection="several"),
    "regression": lambda make, at: make(at.bert, **{**QUICK, "collection": "numbers"}, adapt="lora"),
    "regression, frozen": lambda make, at: make(Hashing(), collection="numbers"),
    "contrastive": contrastive,
    "denoising": lambda make, at: make(at.bert, **{**QUICK, "collection": "letters"}),
    "distill-static": lambda make, at: make(at.bert, collection="letters", dimensions=8),
    "mlm": lambda make, at: make(at.bert, **{**QUICK, "collection": "letters"}),
    "mlm, new": lambda make, at: make(**TINY, **{**QUICK, "collection": "letters"}),
    "generate": generate,
    "fusion": fusion,
}


def registered():
    registry = Registry()
    register_core(registry)
    return registry.kind("recipes")


def test_every_recipe_that_fine_tunes_a_classifier_can_say_what_it_will_need(store, tmp_path, tiny_bert):
    """Whatever a recipe changes in body, loop or objective, a run of it begins with an estimate."""
    store.upsert(topic_examples(60), collection="intents")
    said = {}
    for name, recipe in tunable_recipes():
        made = recipe(Transformer(str(tiny_bert)), collection="intents", epochs=2, batch_size=16)
        said[name] = estimate(made, name="intents", store=store, scratch_root=tmp_path)
    assert {"full", "lora", "adalora", "adapter", "bitfit", "ia3"} <= said.keys()
    assert {name for name, each in said.items() if not 0 < each.trainable_parameters <= each.parameters} == set()
    assert {name for name, each in said.items() if each.updates != 6} == set()
    assert said["bitfit"].trainable_parameters < said["lora"].trainable_parameters < said["full"].trainable_parameters
    assert list(tmp_path.glob("intents*")) == [], "no trace"


def tunable_recipes():
    """Yield (name, class) of the core's recipes that fine-tune a classifier and ask for rows and an encoder alone."""
    for part in registered().parts():
        recipe = part.load()
        asked = inspect.signature(recipe).parameters.values()
        needed = {each.name for each in asked if each.default is inspect.Parameter.empty}
        if issubclass(recipe, TunedRecipe) and needed == {"encoder", "collection"}:
            yield part.name, recipe


def test_no_recipe_is_left_out():
    known = {name.partition(",")[0] for name in OTHERS} | {name for name, _ in tunable_recipes()}
    assert known == {part.name for part in registered().parts()}


@pytest.mark.parametrize("name", OTHERS)
def test_it_says_what_it_will_need_and_what_it_needed(name, store, tmp_path, tiny_bert, tiny_llama):
    plain, told = name.partition(",")[0], []
    recipe = OTHERS[name](registered().get(plain).load(), Place(tmp_path, store, tiny_bert, tiny_llama))
    report = load_report(train_in(tmp_path, recipe, store=store, expect=told.append).folder)
    (found,) = told
    assert found.stages
    assert all(np.isfinite(seconds) and seconds >= 0 for seconds in found.stages.values()), found.stages
    assert found.seconds > 0
    assert found.parameters > 0
    assert found.memory_mb is None or found.memory_mb > 10
    assert found.updates == report.counts.get("updates", 0)
    assert found.trainable_parameters == report.counts.get("trainable_parameters", 0)
    assert ("none of" in str(found)) is (plain in NOTHING_LEARNS) is (found.trainable_parameters == 0)
    assert report.details["measured"]["seconds_estimated_per_measured"] > 0
    assert "Estimated" in report_text(report)
    asked = (
        estimate(recipe, name="nowhere", store=store, scratch_root=tmp_path / "untouched")
        if plain != "update"
        else None
    )
    assert asked is None or asked.updates == found.updates
    assert not (tmp_path / "untouched").exists()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux sets its mark back")
def test_a_second_section_is_not_told_the_memory_of_the_first(store, tmp_path):
    class Large(Hashing):
        """Holds 300 MB while it encodes."""

        def encode(self, texts, *, role="document"):
            held = np.ones(300 * 2**20, dtype=np.uint8)
            return super().encode(texts, role=role) * float(held[0])

    store.upsert(topic_examples(90), collection="intents")
    told, reports = [], []
    for number, encoder in enumerate((Large(), Hashing())):
        recipe = Linear(encoder, collection="intents", strength=1.0)
        artifact = train_in(tmp_path / str(number), recipe, store=store, expect=told.append)
        reports.append(load_report(artifact.folder))
    measured = [report.details["measured"]["memory_mb"] for report in reports]
    assert measured[0] - measured[1] > 250
    assert told[0].memory_mb - told[1].memory_mb > 250
    assert {report.details["measured"]["memory_since"] for report in reports} == {"the run began"}
