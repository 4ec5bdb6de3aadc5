"""A static encoder: the mean of token vectors, looked up and not computed, so it needs numpy alone."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import Artifacts
from mercat.encoders.base import EncoderInfo, Role, Vectors
from mercat.encoders.made import encoder_folder, require_one_source
from mercat.encoders.static_tables import (
    StaticFolder,
    StaticTables,
    load_static,
    load_tokenizer,
    read_static,
    unknown_token,
)
from mercat.errors import ConfigError
from mercat.pretrained.resolve import resolve

_TEXTS_AT_ONCE = 1024
_TOKENS_AT_ONCE = 8192
_FEW = 8  # runs that are summed one by one


class Static:
    """Means of token vectors in model2vec's format (Tulkens and van Dongen 2024), scaled to length 1.

    `model` is a folder or a name of the hub; `artifact` instead names what the recipe `distill-static` made, whose
    current version is taken when it is first asked for. Texts are cut after `max_tokens` tokens, those of the model's
    folder unless given; tokens that the model does not know count for nothing, and a text without any gets one constant
    direction. Queries and documents are encoded alike. Raises ConfigError unless exactly one of `model` and `artifact`
    is given, or for `max_tokens` below 1.
    """

    def __init__(
        self,
        model: str = "",
        *,
        artifact: str = "",
        artifacts: Artifacts | None = None,
        max_tokens: int | None = None,
        cache_mb: int = 16,
    ) -> None:
        require_one_source(model, artifact, artifacts)
        if max_tokens is not None and max_tokens < 1:
            raise ConfigError(f"max_tokens = {max_tokens}", "It is a number from 1", "max_tokens = 512")
        self.model, self.cache_mb = model or artifact, cache_mb
        self._artifacts, self._artifact, self._max_tokens = artifacts, artifact, max_tokens
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    @cached_property
    def folder(self) -> Path:
        """The folder of the model; found on the first call."""
        if self._artifacts is not None and self._artifact:
            return encoder_folder(self._artifacts, self._artifact)
        return resolve(self.model)

    @cached_property
    def checkpoint(self) -> StaticFolder:
        """What the model's folder says; checked on the first call."""
        return read_static(self.folder)

    @property
    def max_tokens(self) -> int:
        """The tokens of a text that are looked at; 0 for all."""
        return self._max_tokens or self.checkpoint.max_tokens

    @cached_property
    def fingerprint(self) -> str:
        """The name of the vector space: a hash of tables, tokenizer and length."""
        read = self.checkpoint
        parts = f"static/1 {read.weights_sha256} {read.tokenizer_sha256} {self.max_tokens}"
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def dimensions(self) -> int:
        return self.checkpoint.dimensions

    def warm_up(self) -> None:
        self._load()

    def encode(self, texts: Sequence[str], *, role: Role = "document") -> Vectors:
        """Return shape (len(texts), dimensions), float32, rows of length 1, in the order of the texts."""
        found = np.empty((len(texts), self.dimensions), dtype=np.float32)
        if len(texts):
            loaded = self._load()
            for start in range(0, len(texts), _TEXTS_AT_ONCE):
                found[start : start + _TEXTS_AT_ONCE] = loaded.means(texts[start : start + _TEXTS_AT_ONCE])
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        nothing = lengths[:, 0] < 1e-30
        found[nothing], lengths[nothing] = 0.0, 1.0
        found[nothing, -1] = 1.0  # the axis of least variance: near to nothing
        found /= lengths
        return found

    def info(self) -> EncoderInfo:
        """Say what the encoder runs as; loads no tables."""
        return EncoderInfo(
            model=self.model,
            backend="numpy",
            device="cpu",
            dtype="float32",
            dimensions=self.dimensions,
            max_tokens=self.max_tokens,
            parameters=self.checkpoint.parameters,
            fingerprint=self.fingerprint,
            note="means of static token vectors",
        )

    def close(self) -> None:
        """Let go of the tables; the next call loads them again."""
        with self._lock:
            self._loaded = None

    def _load(self) -> _Loaded:
        with self._lock:
            if self._loaded is None:
                self._loaded = _Loaded(self.checkpoint, self.max_tokens)
            return self._loaded


class _Loaded:
    """Tokenizer and tables."""

    def __init__(self, read: StaticFolder, max_tokens: int) -> None:
        self.tokenizer: Any = load_tokenizer(read.folder)
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        if max_tokens:
            self.tokenizer.enable_truncation(max_tokens)
        vocabulary = self.tokenizer.get_vocab()
        self.tables: StaticTables = load_static(read, tokens=max(vocabulary.values(), default=-1) + 1)
        self.unknown = unknown_token(self.tokenizer)
        # as model2vec does: what lies behind so many characters of usual tokens is not tokenised at all
        self.most = max_tokens * max(1, int(np.median([len(token) for token in vocabulary]))) if max_tokens else None

    def means(self, texts: Sequence[str]) -> Vectors:
        """Return the mean vector of each text's known tokens, zero without any: shape (texts, dimensions)."""
        readable = [text[: self.most].encode("utf-8", "replace").decode("utf-8") for text in texts]
        rows = [each.ids for each in self.tokenizer.encode_batch_fast(readable, add_special_tokens=False)]
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        ids = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=int(lengths.sum()))
        if self.unknown is not None:
            known = ids != self.unknown
            lengths = np.bincount(np.repeat(np.arange(len(rows)), lengths)[known], minlength=len(rows))
            ids = ids[known]
        order = np.argsort(-lengths, kind="stable")
        found = np.empty((len(rows), self.tables.rows.shape[1]), dtype=np.float32)
        starts = np.cumsum(lengths) - lengths
        found[order] = self._sums(ids, starts[order], lengths[order])
        found /= np.maximum(lengths, 1)[:, None]
        return found

    def _sums(self, ids: NDArray[np.int64], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Vectors:
        """Return the sum of each run of ids, longest first: shape (runs, dimensions).

        All runs take their next token in one step as long as there are many, which never holds more than one vector
        per run; what is left of the few longest is summed run by run.
        """
        found = np.zeros((len(lengths), self.tables.rows.shape[1]), dtype=np.float32)
        step, active = 0, int(np.count_nonzero(lengths))
        while active > _FEW:
            found[:active] += self._vectors(ids[starts[:active] + step])
            step += 1
            active = int(np.searchsorted(-lengths, -step))  # the runs that are longer than the steps taken
        for run in range(active):
            for start in range(starts[run] + step, starts[run] + lengths[run], _TOKENS_AT_ONCE):
                stop = min(start + _TOKENS_AT_ONCE, starts[run] + lengths[run])
                found[run] += self._vectors(ids[start:stop]).sum(axis=0)
        return found

    def _vectors(self, ids: NDArray[np.int64]) -> Vectors:
        """Return the weighted vector of each token: shape (tokens, dimensions)."""
        tables = self.tables
        found: Vectors = tables.rows[ids if tables.mapping is None else tables.mapping[ids]]
        if tables.weights is not None:
            found *= tables.weights[ids, None]
        return found
