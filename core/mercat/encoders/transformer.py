"""A pretrained transformer as an encoder: cheap to make, loaded late, shared between threads."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mercat.artifacts import Artifacts
from mercat.encoders.backends import Backend, Choice, Wish, choose
from mercat.encoders.base import EncoderInfo, Role, Vectors
from mercat.encoders.batching import Ids
from mercat.encoders.checkpoint import POOLINGS, Checkpoint, is_pooling, place_of, read_checkpoint
from mercat.encoders.exported import GRAPHS, Exported, exports_root, place
from mercat.encoders.made import encoder_folder, require_one_source
from mercat.encoders.running import Running
from mercat.encoders.sending import Portable
from mercat.encoders.texts import readable
from mercat.errors import ArtifactError, ConfigError, DataError, missing_extra
from mercat.pretrained.resolve import resolve

_CHARACTERS_PER_TOKEN = 64  # no text has longer tokens on average: what lies behind could not be seen anyway


class Transformer(Portable):
    """Encodes texts with a pretrained transformer, pooled and scaled to length 1.

    `model` is a folder, a packaged name or a name of the hub (see `resolve`); `artifact` instead names what a recipe
    made, an encoder or a classifier with one of its own, whose current version is taken when it is first asked for.
    Pooling, prefixes and `max_tokens` are those of the model's folder unless given; pooling "token-N" takes the vector
    of token number N. Texts are cut after `max_tokens` tokens. `cache_mb` is how much memory `Cached` gives to
    remembered vectors.

    `backend`: "packed" is mercat's own padding-free forward pass of BERT on the CPU, "torch" the module of
    transformers on any device. "onnx" and "openvino" run what `export` made before, on the CPU and without torch; it
    lies in the workspace, or in the user's cache folder. "auto" takes packed where it fits, otherwise torch; on the CPU
    it takes an export that is there if this machine has measured it as the quicker one, and where torch is not
    installed an ONNX export. `info().note` says what was taken and why. `model` may also be the folder of an export.

    `quantise` = "int8" is for onnx: smaller and faster, and a vector space of its own, because its vectors are too far
    from the original's (cosine 0.98 and more) to share an index or a head with them. A text's vector depends there a
    little on the texts of its batch. Raises ConfigError for an unknown pooling, backend or quantisation, and unless
    exactly one of `model` and `artifact` is given.
    """

    def __init__(
        self,
        model: str = "",
        *,
        artifact: str = "",
        artifacts: Artifacts | None = None,
        pooling: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        backend: Backend = "auto",
        quantise: Literal["", "int8"] = "",
        max_tokens: int | None = None,
        batch_tokens: int = 0,
        query_prefix: str | None = None,
        document_prefix: str | None = None,
        cache_mb: int = 64,
        workspace_folder: Path | None = None,
    ) -> None:
        if pooling is not None and not is_pooling(pooling):
            raise ConfigError(f"pooling = '{pooling}'", f"Known: {', '.join(POOLINGS)}", "pooling = 'mean'")
        require_one_source(model, artifact, artifacts)
        self.model, self.cache_mb = model or artifact, cache_mb
        self._artifact, self._artifacts = artifact, artifacts
        self._asked: dict[str, Any] = {
            "pooling": pooling,
            "query_prefix": query_prefix,
            "document_prefix": document_prefix,
        }
        self._max_tokens, self._batch_tokens = max_tokens, batch_tokens
        self._wish = Wish(backend, quantise, device, dtype)
        self._workspace = workspace_folder
        self._lock = threading.Lock()
        self._loaded: Running | None = None

    @classmethod
    def from_folder(cls, folder: Path | str, **parameters: Any) -> Transformer:
        """Return the encoder saved in a folder, for example by `save_body`."""
        return cls(str(folder), **parameters)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """What the model's folder says; the files are found and checked on the first call."""
        return read_checkpoint(self._folder(), name=self.model)

    @property
    def pooling(self) -> str:
        pooling: str = self._asked["pooling"] or self.checkpoint.pooling
        return pooling

    @property
    def max_tokens(self) -> int:
        return min(self._max_tokens or self.checkpoint.max_tokens, self.checkpoint.max_tokens)

    @property
    def backend(self) -> str:
        """The backend that was asked for; `info()` says what it became."""
        return self._wish.backend

    @property
    def quantise(self) -> str:
        """What the weights are rounded to: "int8", or empty."""
        return self._wish.quantise or self.checkpoint.quantise

    def prefix(self, role: Role) -> str:
        """Return what is put before each text of this role."""
        asked = self._asked[f"{role}_prefix"]
        found: str = getattr(self.checkpoint, f"{role}_prefix") if asked is None else asked
        return found

    @cached_property
    def fingerprint(self) -> str:
        """The name of the vector space: a hash of weights, tokenizer, pooling, length, prefixes, scaling, rounding."""
        parts = [
            self.checkpoint.weights_sha256,
            self.checkpoint.tokenizer_sha256,
            self.pooling,
            self.max_tokens,
            self.prefix("query"),
            self.prefix("document"),
            "unit",
            *([self.quantise] if self.quantise else []),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def dimensions(self) -> int:
        return self.checkpoint.dimensions

    def warm_up(self) -> None:
        self._load()

    def encode(self, texts: Sequence[str], *, role: Role = "document") -> Vectors:
        """Return shape (len(texts), dimensions), float32, rows of length 1, in the order of the texts.

        Raises DataError for a text without the token that a pooling like "token-3" takes.
        """
        if not len(texts):
            return np.empty((0, self.dimensions), dtype=np.float32)
        loaded = self._load()
        rows = self._tokenise(texts, role, loaded.tokenizer)
        if (place := place_of(self.pooling)) is not None and (fewest := min(map(len, rows))) <= place:
            short = f"A text has {fewest} tokens, with its prefix '{self.prefix(role)}'"
            raise DataError(f"Token number {place} of each text", short, "the prefix that the encoder was trained with")
        return loaded.run_rows(rows)

    def info(self) -> EncoderInfo:
        """Say what the encoder runs as; loads no weights, but asks torch which devices there are.

        Raises what `mercat.encoders.backends.choose` raises, such as ArtifactError for an export that is not there.
        """
        choice = self._choice()
        return EncoderInfo(
            model=self.model,
            backend=choice.backend if choice.exported else "torch",
            device=choice.device.name,
            dtype=choice.device.dtype,
            dimensions=self.dimensions,
            max_tokens=self.max_tokens,
            parameters=self.checkpoint.parameters,
            fingerprint=self.fingerprint,
            note=choice.device.why,
        )

    def on(self, backend: Backend, *, quantise: Literal["", "int8"] = "") -> Transformer:
        """Return the same encoder on another backend; nothing is loaded or exported yet."""
        return Transformer(
            "" if self._artifact else self.model,
            artifact=self._artifact,
            artifacts=self._artifacts,
            backend=backend,
            quantise=quantise,
            max_tokens=self._max_tokens,
            batch_tokens=self._batch_tokens,
            cache_mb=self.cache_mb,
            workspace_folder=self._workspace,
            **self._asked,
        )

    @property
    def export_folder(self) -> Path:
        """Where the export of this encoder lies, or would lie, for its backend; for "auto" that of ONNX."""
        return self._export_folders()["openvino" if self.backend == "openvino" else "onnx"]

    def export(self) -> Exported:
        """Export the encoder for its backend, "onnx" or "openvino", into `export_folder`; needs torch.

        The vectors of the export are held against those of the original first; it is kept only if the least cosine of
        `mercat.encoders.parity.TEXTS` is at least 0.999, with int8 0.98. Raises ArtifactError otherwise, ConfigError
        for another backend, MissingExtra.
        """
        from mercat.encoders.export import export
        from mercat.encoders.parity import TEXTS

        return export(self, self._tokenise(TEXTS, "document", self.load_tokenizer()))

    def load_for_training(self) -> tuple[Any, Any]:
        """Return a fresh torch module (float32, on the CPU, train mode) and the `tokenizers.Tokenizer`.

        The tokenizer cuts at `max_tokens` and does not pad: see `mercat.encoders.batching.pad`; the module's
        `last_hidden_state` becomes vectors by `mercat.encoders.padded.pool`.
        """
        from mercat.encoders.padded import load_module

        return load_module(self.checkpoint).train(), self.load_tokenizer()

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

    def _folder(self) -> Path:
        if not self._artifact or self._artifacts is None:
            return resolve(self.model)
        return encoder_folder(self._artifacts, self._artifact)

    def _export_folders(self) -> dict[str, Path]:
        root = exports_root(self._workspace)
        return {backend: place(root, self.fingerprint, backend) for backend in GRAPHS}

    def _choice(self) -> Choice:
        return choose(self._wish, self.checkpoint, fingerprint=self.fingerprint, folders=self._export_folders())

    def load_tokenizer(self) -> Any:
        """Return the `tokenizers.Tokenizer` of the folder: it cuts at `max_tokens` and does not pad.

        Raises ArtifactError for one that cannot be read or does not fit the model, MissingExtra.
        """
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise missing_extra("A transformer encoder", "tokenizers", "serve") from error
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

    def _tokenise(self, texts: Sequence[str], role: Role, tokenizer: Any) -> list[Ids]:
        prefix, most = self.prefix(role), self.max_tokens * _CHARACTERS_PER_TOKEN
        cut = [prefix + readable(text, most) for text in texts]
        if self.checkpoint.lower_case:
            cut = [text.lower() for text in cut]
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(cut)]

    def _load(self) -> Running:
        with self._lock:
            if self._loaded is None:
                self._loaded = self.running(self._choice())
            return self._loaded

    def running(self, choice: Choice) -> Running:
        """Return the encoder loaded to run as chosen; whoever asks closes it."""
        return Running(
            choice,
            self.checkpoint,
            tokenizer=self.load_tokenizer(),
            pooling=self.pooling,
            batch_tokens=self._batch_tokens,
        )
