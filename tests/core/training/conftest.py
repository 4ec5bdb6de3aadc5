"""A tiny random BERT, so that fine-tuning takes seconds, and a store to learn from."""

from __future__ import annotations

import json

import pytest

from mercat.store import Store
from mercat.testing.training import topic_examples, train_in
from mercat.training.report import load_report


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """The folder of a 2-layer BERT of 32 dimensions with the words of `topic_examples` as vocabulary."""
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny-bert")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = sorted({word for row in topic_examples(300) for word in row.text.split()})
    tokens = dict.fromkeys([*special, *words, *"abcdefghijklmnopqrstuvwxyz卡被盗了"])
    vocabulary = {word: number for number, word in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 64}))
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def store(tmp_path):
    """An empty store; recipes do not care which database it is."""
    with Store.open(f"sqlite:///{tmp_path}/mercat.db") as opened:
        yield opened


@pytest.fixture(scope="session")
def body_of_minilm():
    """Return a function that makes a random BERT of the size of all-MiniLM-L6-v2: 22.7 million weights."""
    pytest.importorskip("torch")
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    return lambda: BertModel(BertConfig(**sizes))


@pytest.fixture
def resumes(store, tmp_path):
    """Return a function that holds an interrupted run of the recipe `make(**more)` against a whole one, and returns both."""

    class Interrupted(Exception):
        pass

    def check(make, *, at):
        def stop(stage, done, total, **figures):
            if stage == "train" and done == at:
                raise Interrupted

        store.upsert(topic_examples(150), collection="intents")
        with pytest.raises(Interrupted):
            train_in(tmp_path, make(checkpoint_every_s=0.0), store=store, progress=stop)
        resumed = train_in(tmp_path, make(), store=store)
        whole = train_in(tmp_path / "whole", make(), store=store)
        ours, theirs = load_report(resumed.folder), load_report(whole.folder)
        assert ours.details["resumed_at"] == at - 1
        assert theirs.details["resumed_at"] == 0
        assert ours.details["history"] == theirs.details["history"]
        for name, metric in theirs.metrics.items():
            assert ours.metrics[name].value == pytest.approx(metric.value, abs=1e-6), name
        return resumed, whole

    return check
