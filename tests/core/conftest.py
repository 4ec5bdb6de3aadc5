"""Plugins that are really installed for one test, stores on SQLite and on PostgreSQL, tiny language models."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mercat.store import Store

Install = Callable[..., Path]
BOTH = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture
def install(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return `install(name, source, **more)`: distribution mercat-NAME 1.0 with an entry point in the group mercat.

    `distribution` is another name for it than mercat-NAME; `also` further lines of its entry points.

    It returns the folder that is on the path, for the PYTHONPATH of a process of its own.
    """
    folder = tmp_path_factory.mktemp("site")
    monkeypatch.syspath_prepend(folder)
    modules: list[str] = []

    def make(name: str, source: str, *, version: str = "1.0", also: str = "", distribution: str = "") -> Path:
        distribution = distribution or f"mercat-{name}"
        module = f"installed_{distribution.removeprefix('mercat-').replace('-', '_')}"
        (folder / f"{module}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        metadata = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        about = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\nSummary: {name} for a test\n"
        (metadata / "METADATA").write_text(about)
        (metadata / "entry_points.txt").write_text(f"[mercat]\n{name} = {module}\n{textwrap.dedent(also)}")
        modules.append(module)
        importlib.invalidate_caches()
        return folder

    yield make
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture(scope="session")
def ready_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ready")
    with Store.open(f"sqlite:///{folder / 'made.db'}") as made:
        made.upgrade()
        return made.backup(folder / "copy") / "mercat.db"


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'mercat.db'}"
    return request.getfixturevalue("server").empty()


@pytest.fixture(params=BOTH)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with the core's tables."""
    if request.param == "sqlite":
        copied = shutil.copy(request.getfixturevalue("ready_sqlite"), tmp_path / "mercat.db")
        return f"sqlite:///{copied}"
    return request.getfixturevalue("server").ready()


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as opened:
        yield opened


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory):
    """A 2-layer llama of 32 dimensions with random weights; its tokens are the 256 bytes and three marks."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: at for at, token in enumerate(["<s>", "</s>", "<unk>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.add_special_tokens(["<s>", "</s>", "<unk>"])
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=1,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        module = LlamaForCausalLM(config)
        for weights in module.parameters():  # fresh weights are so small that every prompt looks alike
            weights.add_(torch.randn_like(weights) * 0.3)
    module.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    return folder


@pytest.fixture(scope="session")
def tiny_t5(tiny_llama, tmp_path_factory):
    """A 2-layer T5 of 32 dimensions with random weights and the bytes of the tiny llama."""
    import torch
    from tokenizers import Tokenizer, processors
    from transformers import T5Config, T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("models") / "tiny-t5"
    config = T5Config(
        vocab_size=259,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        eos_token_id=1,
        pad_token_id=0,
        decoder_start_token_id=0,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(2)
        module = T5ForConditionalGeneration(config)
        for weights in module.parameters():
            weights.add_(torch.randn_like(weights) * 0.3)
    module.save_pretrained(folder)
    tokenizer = Tokenizer.from_file(str(tiny_llama / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
