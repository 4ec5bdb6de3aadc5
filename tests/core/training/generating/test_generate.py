"""The recipe `generate`: answers are learned, causal or sequence to sequence, and served as they were trained."""

import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

from mercat.artifacts import Artifacts
from mercat.encoders.hashing import Hashing
from mercat.errors import ArtifactError, ConfigError, DataError
from mercat.evaluation.chrf import chrf
from mercat.generators.decoding import load_module, load_tokenizer
from mercat.generators.local import Local
from mercat.store import Store
from mercat.testing.training import NAME, RecipeContract, train_in
from mercat.training.generating.answers import AnsweringModel, surprise
from mercat.training.generating.generate import Generate
from mercat.training.generating.turns import read_pairs, source_of, turns_of
from mercat.training.report import load_report
from mercat.training.train import evaluate
from mercat.values import Example

THINGS = ("card", "parcel", "refund", "transfer", "卡", "letter", "order", "ticket")
QUICK = {"collection": NAME, "device": "cpu", "epochs": 3, "learning_rate": 5e-3, "compared": 4, "answer_tokens": 12}


def dialogues(count=40):
    """Return questions after some thing of eight, and answers that name it."""
    return [
        Example(f"{at:03}", f"{at}: my {thing}?", "", f"the {thing} is here", group=str(at))
        for at, thing in ((at, THINGS[at % len(THINGS)]) for at in range(count))
    ]


class TestGenerate(RecipeContract):
    more = MappingProxyType({})

    @pytest.fixture(autouse=True)
    def _folder(self, tiny_llama):
        type(self).folder = tiny_llama

    def recipe(self):
        return Generate(Local(str(self.folder), device="cpu", dtype="float32"), **QUICK | self.more)

    def fill(self, store):
        store.upsert([*dialogues(), Example("alone", "no answer", "x")], collection=NAME)

    def test_it_learns_and_stands_beside_the_model_that_it_was(self, made):
        folder, artifact = made
        report = load_report(artifact.folder)
        assert report.metrics["perplexity"].value == pytest.approx(math.exp(report.metrics["loss"].value))
        assert any("1 of 41 rows have no text or no answer" in note for note in report.notes)
        with Store.open(f"sqlite:///{folder}/mercat.db") as store:
            found = evaluate(self.recipe(), artifact=artifact, store=store, scratch_root=folder / "scratch")
        assert found.baseline == "the model before training"
        assert found.differences["loss"].high < 0
        assert found.counts["compared"] == 4

    def test_what_was_written_is_served_by_name_and_answers_as_it_was_judged(self, made):
        folder, artifact = made
        local = Local(artifact=NAME, artifacts=Artifacts(folder / "artifacts"), device="cpu", dtype="float32")
        with Store.open(f"sqlite:///{folder}/mercat.db") as store:
            rows = read_pairs(store, NAME, validation_share=0.1, test_share=0.1, split="auto").validation
        answers = local.generate_many([row.text for row in rows], max_tokens=12)
        assert len({answer.text for answer in answers}) > 1
        likeness = [chrf(answer.text, row.text_pair) for answer, row in zip(answers, rows, strict=True)]
        assert artifact.metrics["chrf"]["value"] == pytest.approx(np.mean(likeness))
        assert artifact.metrics["chrf"]["n"] == len(rows) == 4


class TestGenerateWithLora(TestGenerate):
    more = MappingProxyType({"lora": True, "rank": 4, "learning_rate": 2e-2})

    def test_little_learned_and_lies_alone_too(self, made):
        counts = load_report(made[1].folder).counts
        assert 0 < counts["trainable_parameters"] < counts["parameters"] / 2
        assert (made[1].folder / "adapter" / "adapter_model.safetensors").is_file()
        assert not (made[1].folder / "generator" / "adapter_config.json").exists()


class TestGenerateFromSequenceToSequence(TestGenerate):
    more = MappingProxyType({"epochs": 4})

    @pytest.fixture(autouse=True)
    def _folder(self, tiny_t5):
        type(self).folder = tiny_t5


def test_a_killed_run_gives_the_figures_of_a_whole_one(tiny_llama, resumes, store):
    store.upsert(dialogues(), collection=NAME)
    local = Local(str(tiny_llama), device="cpu", dtype="float32")
    resumes(lambda **more: Generate(local, **QUICK, **more), at=6)


@pytest.fixture(params=["tiny_llama", "tiny_t5"])
def source(request):
    return source_of(Local(str(request.getfixturevalue(request.param))))


def test_the_loss_is_that_of_the_answer_alone_and_padding_changes_nothing(source):
    module = load_module(source, dtype="float32").eval()
    model = AnsweringModel(module, start=source.start).eval()
    turns = [turn for turn in turns_of(dialogues(6), source, load_tokenizer(source), system="", max_tokens=99) if turn]
    together = surprise(model, turns, batch_size=6)
    assert len(together.losses) == sum(len(turn.answer) for turn in turns)
    for row, turn in enumerate(turns):
        alone = surprise(model, [turn])
        mine = together.losses[together.rows == row]
        assert mine == pytest.approx(alone.losses, abs=1e-4)
        with torch.inference_mode():
            if source.start is None:
                ids = torch.tensor([[*turn.prompt, *turn.answer]])
                logits = module(input_ids=ids).logits[0, len(turn.prompt) - 1 : -1]
            else:
                logits = module(input_ids=torch.tensor([turn.prompt]), labels=torch.tensor([turn.answer])).logits[0]
        expected = torch.nn.functional.cross_entropy(logits, torch.tensor(turn.answer), reduction="none")
        assert alone.losses == pytest.approx(expected.numpy(), abs=1e-4)


def test_a_prompt_has_its_template_and_an_answer_its_end(tiny_llama, tmp_path):
    read = source_of(Local(str(tiny_llama)))
    tokenizer = load_tokenizer(read)
    (turn,) = turns_of([Example("a", "where?", "", "here")], read, tokenizer, system="be short", max_tokens=64)
    assert tokenizer.decode(turn.prompt, skip_special_tokens=False) == "<s>be short\nwhere?\n"
    assert tokenizer.decode(turn.answer, skip_special_tokens=False) == "here</s>"
    folder = shutil.copytree(tiny_llama, tmp_path / "chat")
    (folder / "chat_template.jinja").write_text("{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}=")
    read = source_of(Local(str(folder)))
    (turn,) = turns_of([Example("a", "where?", "", "here")], read, tokenizer, system="", max_tokens=64)
    assert tokenizer.decode(turn.prompt, skip_special_tokens=False) == "[user]where?="


def test_rows_that_are_too_long_are_left_out_and_said(tiny_llama, store, tmp_path):
    long = [Example(f"long{at}", f"{at}?", "", "so " * 60, split="train") for at in range(3)]
    store.upsert([*dialogues(), *long], collection=NAME)
    local = Local(str(tiny_llama), device="cpu", dtype="float32")
    report = load_report(train_in(tmp_path, Generate(local, **QUICK | {"epochs": 1}), store=store).folder)
    assert "3 train rows have more than max_tokens = 256: left out" in " ".join(report.notes)
    assert report.counts["train_used"] == report.counts["train"] - 3
    with pytest.raises(DataError, match="All are longer") as caught:
        train_in(tmp_path, Generate(local, **QUICK | {"max_tokens": 8}), store=store)
    assert caught.value.next == "max_tokens = 16"


def test_what_cannot_learn_is_refused(tiny_llama, store, tmp_path):
    local = Local(str(tiny_llama))
    store.upsert([Example("a", "only a text", "x"), Example("b", "another", "y")], collection=NAME)
    with pytest.raises(DataError, match="None of its 2 rows has a text_pair"):
        train_in(tmp_path, Generate(local, **QUICK), store=store)
    for options, said in (({"compared": 0}, "compared"), ({"test_share": 1.0}, "test_share"), ({"rank": 0}, "rank")):
        with pytest.raises(ConfigError, match=said):
            Generate(local, **QUICK | options)
    with pytest.raises(ConfigError, match="weights that can learn"):
        source_of(Hashing())
    folder = shutil.copytree(tiny_llama, tmp_path / "endless")
    for name in ("config.json", "generation_config.json"):
        said = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({key: value for key, value in said.items() if key != "eos_token_id"}))
    with pytest.raises(ArtifactError, match="no answer could end"):
        source_of(Local(str(folder)))


def test_of_several_ends_the_tokenizers_own_is_learned(tiny_llama):
    read = source_of(Local(str(tiny_llama)))
    (found,) = turns_of(
        [Example("a", "x", "", "y")],
        replace(read, ends=frozenset({0, 1, 2})),
        load_tokenizer(read),
        system="",
        max_tokens=64,
    )
    assert found.answer[-1] == 1


@pytest.mark.slow
def test_a_model_of_stories_learns_to_answer(store, tmp_path):
    """A small trained model answers questions about things after a minute, which it could not before."""
    stories = Path(os.environ.get("MERCAT_MODELS", "")) / "stories260K" / "hf"
    if not stories.is_dir():
        pytest.skip("MERCAT_MODELS with stories260K is not set")
    things = ["dog", "cat", "ball", "tree", "girl", "boy", "box", "car", "bird", "book"]
    places = ["park", "house", "garden", "room"]
    rows = [
        Example(f"{at}", f"Where is the {thing}, Tom? It is day {at}.", "", f"The {thing} is in the {place}.")
        for at in range(400)
        for thing, place in [(things[at % 10], places[at % 10 % 4])]
    ]
    store.upsert(rows, collection=NAME)
    recipe = Generate(
        Local(str(stories), device="cpu", dtype="float32"),
        collection=NAME,
        device="cpu",
        learning_rate=2e-3,
        compared=20,
        answer_tokens=24,
    )
    artifact = train_in(tmp_path, recipe, store=store)
    found = evaluate(recipe, artifact=artifact, store=store, scratch_root=tmp_path)
    assert found.metrics["chrf"].value > 0.9
    assert found.differences["chrf"].low > 0.3
    local = Local(artifact=NAME, artifacts=Artifacts(tmp_path / "artifacts"), device="cpu", dtype="float32")
    (answer,) = local.generate_many(["Where is the dog, Tom? It is day 999."], max_tokens=24)
    assert answer.text.strip() == "The dog is in the park."
    assert answer.finish == "stop"
    assert np.isfinite(found.metrics["perplexity"].value)
