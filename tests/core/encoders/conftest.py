"""Tiny transformers with random weights, made once: every code path of the large ones in a millisecond."""

import json
from pathlib import Path

import pytest

WORDS = [
    "the",
    "card",
    "has",
    "not",
    "arrived",
    "yet",
    "my",
    "parcel",
    "is",
    "late",
    "where",
    "refund",
    "我",
    "的",
    "卡",
    "没",
    "有",
    "到",
    "?",
    ".",
    ",",
    "query",
    "passage",
    ":",
]


def tiny_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    letters = [mark + chr(code) for mark in ("", "##") for code in range(97, 123)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys([*WORDS, *letters])]
    tokenizer = Tokenizer(models.WordPiece({word: at for at, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))


def save_tiny(folder: Path, kind: str = "bert", **changes) -> Path:
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {"vocab_size": 120, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"intermediate_size": 64, "max_position_embeddings": 48, "pad_token_id": 0} | changes
    config = transformers.AutoConfig.for_model(kind, **sizes)
    module = transformers.AutoModel.from_config(config)
    with torch.no_grad():  # fresh weights are so small that every text looks alike
        for weights in module.parameters():
            weights.add_(torch.randn_like(weights) * 0.2)
    module.save_pretrained(folder)
    tiny_tokenizer(folder)
    return folder


@pytest.fixture
def make_tiny():
    pytest.importorskip("torch", reason="torch is not installed")
    return save_tiny


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    pytest.importorskip("torch", reason="torch is not installed")
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny-bert")


@pytest.fixture
def copy_of(tmp_path):
    """Return a function that copies a model folder and changes one of its JSON files."""
    import shutil

    def copy(folder: Path, file: str = "config.json", **changes) -> Path:
        target = tmp_path / f"copy-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(folder, target)
        path = target / file
        path.parent.mkdir(exist_ok=True)
        read = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps(read | changes))
        return target

    return copy
