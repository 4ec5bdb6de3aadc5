"""From an encoder to a table of token vectors: every token encoded alone, projected, weighted.

Tulkens and van Dongen 2024, "Model2Vec"; the weights are those of Arora, Liang and Ma 2017, "A Simple but Tough-to-Beat
Baseline for Sentence Embeddings" (SIF), with Zipf's law in place of counts unless there are counts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.encoders.base import Encoder, Role, Vectors
from mercat.encoders.batching import pad
from mercat.encoders.transformer import Transformer
from mercat.errors import ConfigError, missing_extra

_NO_WORD = re.compile(r"\[(PAD|UNK|CLS|SEP|MASK|unused\d+)\]|<(pad|unk|s|/s|mask|unused\d+|0x[0-9A-F]{2})>")
_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens of a student by id, and what encodes each of them; `meant` is False for those that stand for nothing.

    `meant` has shape (tokens,).
    """

    tokenizer: Any
    tokens: Sequence[str]
    meant: NDArray[np.bool_]
    teacher: Teacher


@dataclass(frozen=True, slots=True)
class Teacher:
    """Encodes a token as the encoder would see it: by its id where it is one of its own, as a text otherwise."""

    encoder: Encoder
    inside: TokenBody | None = None

    @property
    def fingerprint(self) -> str:
        """The name of the space, and how its tokens were asked for."""
        how = "ids" if self.inside else "texts"
        return hashlib.sha256(f"{self.encoder.fingerprint} {how}".encode()).hexdigest()

    @property
    def dimensions(self) -> int:
        """The width of the vectors."""
        return self.encoder.dimensions

    def encode(self, texts: Sequence[str], *, role: Role = "query") -> Vectors:
        """Return shape (tokens, dimensions), rows of length 1."""
        return self.inside.encode(texts) if self.inside else self.encoder.encode(texts, role=role)


class TokenBody:
    """The body of a transformer that is asked with single tokens, between the marks that it puts around a text."""

    def __init__(self, encoder: Transformer, tokenizer: Any) -> None:
        self.pooling, self.pad_id = encoder.pooling, encoder.checkpoint.pad_id
        self.module = encoder.load_for_training()[0].eval()
        self.ids: dict[str, int] = tokenizer.get_vocab()
        self.before, self.after = marks(tokenizer)

    def encode(self, tokens: Sequence[str]) -> Vectors:
        """Return one unit vector per token: shape (tokens, dimensions)."""
        import torch

        from mercat.encoders.padded import pool

        found = []
        for start in range(0, len(tokens), _AT_ONCE):
            rows = [[*self.before, self.ids[token], *self.after] for token in tokens[start : start + _AT_ONCE]]
            ids, mask = (torch.from_numpy(array) for array in pad(rows, pad_id=self.pad_id))
            with torch.inference_mode():
                hidden = self.module(input_ids=ids, attention_mask=mask).last_hidden_state.float()
                found.append(torch.nn.functional.normalize(pool(hidden, mask, self.pooling), dim=1).numpy())
        joined: Vectors = np.concatenate(found)
        return joined


def own_vocabulary(encoder: Transformer) -> Vocabulary:
    """Return the tokens of a transformer's own tokenizer, each encoded by its id."""
    from tokenizers import normalizers

    tokenizer = encoder.load_for_training()[1]
    body = TokenBody(encoder, tokenizer)
    student = type(tokenizer).from_str(tokenizer.to_str())
    student.no_truncation()
    student.no_padding()
    if encoder.checkpoint.lower_case:
        student.normalizer = normalizers.Sequence(
            [normalizers.Lowercase(), *([student.normalizer] if student.normalizer else [])]
        )
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    special |= {tokenizer.id_to_token(number) for number in (*body.before, *body.after)}
    tokens = [tokenizer.id_to_token(number) or "" for number in range(max(body.ids.values()) + 1)]
    meant = [bool(token) and token not in special and not _NO_WORD.fullmatch(token) for token in tokens]
    return Vocabulary(student, tokens, np.array(meant), Teacher(encoder, body))


def words_of(texts: Sequence[str], encoder: Encoder, *, most: int) -> Vocabulary:
    """Return the most frequent words of texts in lower case, most frequent first; Chinese characters are words."""
    try:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    except ImportError as error:
        raise missing_extra("The recipe 'distill-static'", "tokenizers", "train") from error
    normalise = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    cut = pre_tokenizers.BertPreTokenizer()
    counts: dict[str, int] = {}
    for text in texts:
        for word, _ in cut.pre_tokenize_str(normalise.normalize_str(text.encode("utf-8", "replace").decode("utf-8"))):
            counts[word] = counts.get(word, 0) + 1
    words = sorted(counts, key=lambda word: (-counts[word], word))[:most]
    tokens = ["[UNK]", *(word for word in words if word != "[UNK]")]
    tokenizer = Tokenizer(models.WordLevel({token: at for at, token in enumerate(tokens)}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalise, cut
    return Vocabulary(tokenizer, tokens, np.arange(len(tokens)) > 0, Teacher(encoder))


def marks(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the ids that a tokenizer puts before and after a text."""
    bare = tokenizer.encode("a", add_special_tokens=False).ids
    marked = tokenizer.encode("a").ids
    start = next((at for at in range(len(marked)) if marked[at : at + len(bare)] == bare), 0)
    return list(marked[:start]), list(marked[start + len(bare) :])


def zipf(tokens: int) -> NDArray[np.float64]:
    """Return how probable each of so many tokens is by its rank, most frequent first: shape (tokens,)."""
    inverse = 1.0 / np.arange(2, tokens + 2)
    found: NDArray[np.float64] = inverse / inverse.sum()
    return found


def counted(texts: Sequence[str], tokenizer: Any, tokens: int) -> NDArray[np.float64]:
    """Return how probable each token is in texts, each counted once more than it occurs: shape (tokens,)."""
    clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    counts = np.ones(tokens)
    for encoding in tokenizer.encode_batch_fast(clean, add_special_tokens=False):
        np.add.at(counts, encoding.ids, 1.0)
    found: NDArray[np.float64] = counts / counts.sum()
    return found


def sif(probabilities: NDArray[np.float64], smoothing: float) -> NDArray[np.float64]:
    """Return a / (a + p) per token, which makes frequent words count less: shape (tokens,)."""
    return smoothing / (smoothing + probabilities)


def project(vectors: NDArray[Any], dimensions: int) -> tuple[NDArray[np.float64], float]:
    """Return vectors on their `dimensions` principal axes, shape (rows, dimensions), and the share of variance kept.

    The sign of each axis is that of its largest value, so the result does not depend on the machine. Raises ConfigError
    for more axes than there are.
    """
    exact = np.asarray(vectors, dtype=np.float64)
    most = min(exact.shape[1], len(exact) - 1)
    if dimensions > most:
        found = f"The encoder and its {len(exact)} tokens have {most}"
        raise ConfigError(f"dimensions = {dimensions}", found, f"dimensions = {most}")
    centred = exact - exact.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred)
    variances, axes = np.clip(variances[::-1], 0, None), axes[:, ::-1][:, :dimensions]
    projected = centred @ axes
    largest = np.abs(projected).argmax(axis=0)
    signs = np.where(projected[largest, np.arange(dimensions)] < 0, -1.0, 1.0)
    kept = variances[:dimensions].sum() / max(variances.sum(), 1e-300)
    return projected * signs, float(kept)
