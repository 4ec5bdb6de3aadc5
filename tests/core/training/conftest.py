"""A tiny random BERT, so that fine-tuning takes seconds, and a store to learn from."""

from __future__ import annotations

import json

import pytest

from mercat.store import Store
from mercat.testing.training import topic_examples


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
