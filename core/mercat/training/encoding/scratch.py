"""An encoder that knows nothing yet: a tokenizer learned from texts, and a BERT of any size with random weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mercat.encoders.saving import save_body
from mercat.encoders.texts import readable
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError, DataError
from mercat.training.loop.running import digest_of, seeded

MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_BEGUN = "begun.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of a new BERT; `vocabulary` is the most tokens that it knows. Raises ConfigError for others."""

    dimensions: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    max_tokens: int

    def __post_init__(self) -> None:
        for name, size in asdict(self).items():
            least = 8 if name in ("max_tokens", "dimensions") else 1
            if size < least:
                raise ConfigError(f"{name} = {size}", f"It is at least {least}", f"{name} = {least}")
        if self.dimensions % self.heads:
            found = f"They do not part among {self.heads} heads"
            raise ConfigError(f"dimensions = {self.dimensions}", found, f"dimensions = {64 * self.heads}")


def new_encoder(folder: Path, texts: Sequence[str], sizes: Sizes, *, seed: int) -> Transformer:
    """Write a new encoder into a folder and return it; one that was made there from the same texts stays as it is."""
    digest = digest_of(asdict(sizes), seed, list(texts))
    begun = folder / _BEGUN
    if not begun.is_file() or json.loads(begun.read_text()) != digest:
        shutil.rmtree(folder, ignore_errors=True)
        tokenizer = word_pieces(texts, size=sizes.vocabulary)
        tokenizer.enable_truncation(sizes.max_tokens)
        with seeded(seed):
            body = _bert(sizes, words=tokenizer.get_vocab_size())
        save_body(body, tokenizer, folder, pooling="mean", max_tokens=sizes.max_tokens)
        begun.write_text(json.dumps(digest))
    return Transformer.from_folder(folder)


def word_pieces(texts: Sequence[str], *, size: int) -> Any:
    """Return a WordPiece tokenizer of at most `size` tokens, the same for the same texts.

    Raises DataError for texts with more characters than that.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    normalizer, splitter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    clean = [readable(text, len(text)) for text in texts]
    words = {word for text in clean for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))}
    # the trainer numbers these by chance, and its merges follow the numbers, unless they are given in an order
    inner = sorted({f"##{character}" for word in words for character in word[1:]})
    first = {word[0] for word in words}
    if (fewest := len(MARKS) + len(inner) + len(first)) > size:
        found = f"The texts have {fewest} marks and characters, at the beginning of words and within"
        raise DataError(f"A vocabulary of {size} tokens", found, f"vocabulary = {2 * fewest}")
    learned = Tokenizer(models.WordPiece(unk_token=MARKS[1]))
    learned.normalizer, learned.pre_tokenizer = normalizer, splitter
    learned.train_from_iterator(
        clean, trainers.WordPieceTrainer(vocab_size=size, special_tokens=[*MARKS, *inner], show_progress=False)
    )
    vocabulary = learned.get_vocab()
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=MARKS[1]))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.add_special_tokens(list(MARKS))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(mark, vocabulary[mark]) for mark in ("[CLS]", "[SEP]")]
    )
    return tokenizer


def _bert(sizes: Sizes, *, words: int) -> Any:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=words,
        hidden_size=sizes.dimensions,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.inner,
        max_position_embeddings=sizes.max_tokens,
    )
    return BertModel(config)
