"""What the whole run shares: cores, which tests are too long for every day, one PostgreSQL server, a tiny encoder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from mercat.testing.store import PostgresForTests


# As many processes as cores run tests, and each library would start a thread for every core and let those that wait spin:
# a training of a second takes ten. These leave alone `mercat.compute.cores`, which OMP_NUM_THREADS would not.
for name, value in {"MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}.items():
    os.environ.setdefault(name, value)  # read when a library loads, so before any test file is
# Some tests kill forks of their process, in which gRPC, if a test of Milvus has loaded it, tears down what it never had.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

LONG = "long: pytest -m slow runs it"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip long tests, and say so, unless the run's -m speaks of them."""
    if "slow" in config.getoption("-m"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason=LONG))


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresForTests]:
    """Starting it takes longer than most tests."""
    from mercat.testing.store import postgres

    with postgres() as running:
        yield running


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a 2-layer BERT of 32 dimensions with the words of `topic_examples` as vocabulary."""
    import json

    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    from mercat.testing.training import topic_examples

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
def no_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that computes in float32 alone, whichever this is: for what is compared at float32's tolerance."""
    monkeypatch.setattr("mercat.compute.device.cpu_flags", frozenset)
