"""A pretrained transformer as an encoder: cheap to make, loaded late, shared between threads."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from mercat.compute.device import Device, choose_device
from mercat.compute.threads import cores
from mercat.encoders.base import EncoderInfo, Role, Vectors
from mercat.encoders.batching import Ids, plan
from mercat.encoders.checkpoint import POOLINGS, Checkpoint, read_checkpoint
from mercat.encoders.resolve import resolve
from mercat.encoders.texts import readable
from mercat.errors import ArtifactError, ConfigError, missing_extra

Backend = Literal["auto", "packed", "torch"]
_CHARACTERS_PER_TOKEN = 64  # no text has longer tokens on average: what lies behind could not be seen anyway


class Body(Protocol):
    """The part that holds the weights: rows of token ids in, unit vectors out."""

    def vectors(self, rows: Sequence[Ids]) -> Vectors:
        """Return one unit vector per row of token ids: shape (rows, dimensions)."""
        ...


class Transformer:
    """Encodes texts with a pretrained transformer, pooled and scaled to length 1.

    `model` is a folder, a packaged name or a name of the hub (see `resolve`). Pooling, prefixes and `max_tokens` are
    those of the model's folder unless given. Texts are cut after `max_tokens` tokens. `cache_mb` is how much memory
    `Cached` gives to remembered vectors.

    `backend`: "packed" is mercat's own padding-free forward pass of BERT on the CPU, "torch" the module of
    transformers on any device; "auto" takes packed where it fits and says so in `info().note`. Raises ConfigError for
    an unknown pooling or backend.
    """

    def __init__(
        self,
        model: str,
        *,
        pooling: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        backend: Backend = "auto",
        max_tokens: int | None = None,
        batch_tokens: int = 0,
        query_prefix: str | None = None,
        document_prefix: str | None = None,
        cache_mb: int = 64,
    ) -> None:
        if pooling is not None and pooling not in POOLINGS:
            raise ConfigError(f"pooling = '{pooling}'", f"Known: {', '.join(POOLINGS)}", "pooling = 'mean'")
        if backend not in ("auto", "packed", "torch"):
            raise ConfigError(f"backend = '{backend}'", "Known: auto, packed, torch", "backend = 'auto'")
        self.model, self.cache_mb = model, cache_mb
        self._asked = {"pooling": pooling, "query_prefix": query_prefix, "document_prefix": document_prefix}
        self._max_tokens, self._batch_tokens = max_tokens, batch_tokens
        self._device, self._dtype, self._backend = device, dtype, backend
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    @classmethod
    def from_folder(cls, folder: Path | str, **parameters: Any) -> Transformer:
        """Return the encoder saved in a folder, for example by `save_body`."""
        return cls(str(folder), **parameters)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """What the model's folder says; the files are found and checked on the first call."""
        return read_checkpoint(resolve(self.model), name=self.model)

    @property
    def pooling(self) -> str:
        return self._asked["pooling"] or self.checkpoint.pooling

    @property
    def max_tokens(self) -> int:
        return min(self._max_tokens or self.checkpoint.max_tokens, self.checkpoint.max_tokens)

    def prefix(self, role: Role) -> str:
        """Return what is put before each text of this role."""
        asked = self._asked[f"{role}_prefix"]
        return getattr(self.checkpoint, f"{role}_prefix") if asked is None else asked

    @cached_property
    def fingerprint(self) -> str:
        """The name of the vector space: a hash of weights, tokenizer, pooling, length, prefixes and scaling."""
        parts = [
            self.checkpoint.weights_sha256,
            self.checkpoint.tokenizer_sha256,
            self.pooling,
            self.max_tokens,
            self.prefix("query"),
            self.prefix("document"),
            "unit",
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def dimensions(self) -> int:
        return self.checkpoint.dimensions

    def warm_up(self) -> None:
        self._load()

    def encode(self, texts: Sequence[str], *, role: Role = "document") -> Vectors:
        """Return shape (len(texts), dimensions), float32, rows of length 1, in the order of the texts."""
        found = np.empty((len(texts), self.dimensions), dtype=np.float32)
        if not len(texts):
            return found
        loaded = self._load()
        rows = self._tokenise(texts, role, loaded)
        batches = plan([len(row) for row in rows], budget=loaded.batch_tokens, lanes=loaded.lanes)
        for batch, vectors in zip(
            batches, loaded.run([[rows[row] for row in batch] for batch in batches]), strict=True
        ):
            found[batch] = vectors
        return found

    def info(self) -> EncoderInfo:
        """Say what the encoder runs as; loads no weights, but asks torch which devices there are."""
        device, backend = self._choice()
        return EncoderInfo(
            model=self.model,
            backend="torch",
            device=device.name,
            dtype=device.dtype,
            dimensions=self.dimensions,
            max_tokens=self.max_tokens,
            parameters=self.checkpoint.parameters,
            fingerprint=self.fingerprint,
            note=f"{backend} forward pass; {device.why}",
        )

    def load_for_training(self) -> tuple[Any, Any]:
        """Return a fresh torch module (float32, on the CPU, train mode) and the `tokenizers.Tokenizer`.

        The tokenizer cuts at `max_tokens` and does not pad: see `mercat.encoders.batching.pad`; the module's
        `last_hidden_state` becomes vectors by `mercat.encoders.padded.pool`.
        """
        from mercat.encoders.padded import load_module

        return load_module(self.checkpoint).train(), self._tokenizer()

    def save_body(self, module: Any, tokenizer: Any, folder: Path | str) -> Path:
        """Save a fine-tuned body as a folder that this class and sentence-transformers can load."""
        from mercat.encoders.saving import save_body

        return save_body(
            module,
            tokenizer,
            Path(folder),
            pooling=self.pooling,
            max_tokens=self.max_tokens,
            query_prefix=self.prefix("query"),
            document_prefix=self.prefix("document"),
            lower_case=self.checkpoint.lower_case,
        )

    def close(self) -> None:
        """Let go of weights and threads; the next call loads them again."""
        with self._lock:
            loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.close()

    def _choice(self) -> tuple[Device, str]:
        from mercat.encoders.packed import can_pack

        device = choose_device(self._device, dtype=self._dtype)
        fits = device.name == "cpu" and can_pack(self.checkpoint.config)
        if self._backend == "packed" and not fits:
            found = f"It is for BERT on the CPU; this is {self.checkpoint.config.get('model_type')} on {device.name}"
            raise ConfigError("backend = 'packed'", found, "backend = 'auto'")
        return device, "packed" if fits and self._backend != "torch" else "torch"

    def _tokenizer(self) -> Any:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise missing_extra("A transformer encoder", "tokenizers", "train") from error
        folder, words = self.checkpoint.folder, self.checkpoint.config.get("vocab_size")
        try:
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises no type of its own
            found = f"tokenizer.json cannot be read: {error}"
            raise ArtifactError(f"Model folder '{folder}'", found, "fetch the model again") from error
        if words and (most := max(tokenizer.get_vocab().values(), default=0)) >= words:
            found = f"tokenizer.json has the token {most}, config.json {words} tokens"
            raise ArtifactError(f"Model folder '{folder}'", found, "the tokenizer that belongs to the model")
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.max_tokens)
        return tokenizer

    def _tokenise(self, texts: Sequence[str], role: Role, loaded: _Loaded) -> list[Ids]:
        prefix, most = self.prefix(role), self.max_tokens * _CHARACTERS_PER_TOKEN
        cut = [prefix + readable(text, most) for text in texts]
        if self.checkpoint.lower_case:
            cut = [text.lower() for text in cut]
        return [encoding.ids for encoding in loaded.tokenizer.encode_batch_fast(cut)]

    def _load(self) -> _Loaded:
        with self._lock:
            if self._loaded is None:
                device, backend = self._choice()
                self._loaded = _Loaded(self, device, backend, self._batch_tokens)
            return self._loaded


class _Loaded:
    """Weights, tokenizer and the threads that run them."""

    def __init__(self, encoder: Transformer, device: Device, backend: str, batch_tokens: int) -> None:
        from mercat.encoders.packed import PackedBert
        from mercat.encoders.padded import PaddedModel

        self.tokenizer = encoder._tokenizer()
        checkpoint, pooling = encoder.checkpoint, encoder.pooling
        self.body: Body
        if backend == "packed":
            self.body = PackedBert(checkpoint, pooling=pooling, dtype=device.dtype)
        else:
            self.body = PaddedModel(checkpoint, pooling=pooling, device=device.name, dtype=device.dtype)
        self.lanes = cores() if device.name == "cpu" else 1
        self.batch_tokens = batch_tokens or (1024 if device.name == "cpu" else 65536)
        self._pool = _single_threaded_pool(self.lanes) if self.lanes > 1 else None

    def run(self, batches: Sequence[Sequence[Ids]]) -> list[Vectors]:
        """Run each batch; on a CPU each on one thread of its own, because waiting for one another costs most."""
        if self._pool is None or len(batches) == 1:
            return [self.body.vectors(batch) for batch in batches]
        return list(self._pool.map(self.body.vectors, batches))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()


def _single_threaded_pool(threads: int) -> ThreadPoolExecutor:
    """Return threads in which torch computes on one core each; other threads keep their setting."""
    import torch

    before = torch.get_num_threads()
    ready = threading.Barrier(threads + 1)

    def start() -> None:
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(threads, thread_name_prefix="mercat-encode")
    for _ in range(threads):
        pool.submit(start)
    ready.wait()
    torch.set_num_threads(before)  # the setting is per thread, but also the default of threads yet to come
    return pool
