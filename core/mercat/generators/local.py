"""A language model on this machine: cheap to make, loaded late, shared between threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal

from mercat.artifacts import Artifacts
from mercat.compute.device import choose_device
from mercat.errors import ConfigError, DataError
from mercat.generators.base import Generated, GeneratorInfo, Piece, Prompt, Sampling, as_prompt
from mercat.generators.decoding import Decoder
from mercat.generators.folder import GeneratorFolder, read_generator, rendered
from mercat.pretrained.resolve import resolve

IN_ARTIFACT = "generator"
"""The folder inside an artifact that holds the model."""


class Local:
    """Continues prompts with a transformers model from a folder, or by a name of the hub; safetensors alone.

    `artifact` instead of `model` names what the recipe `generate` made, whose current version is taken when it is first
    asked for. A sequence-to-sequence model answers its prompts rather than continues them, and has room for
    `info().max_tokens` in the prompt and as many in the answer.

    A model with a chat template gets every prompt through it, unless `template = "none"`; one without continues texts
    as they stand and refuses a `system` or `before`. Prompts run in batches of `batch_rows`, like lengths together; the
    batch makes no difference to an answer but by rounding. An answer ends where the model has no more room. Raises
    ConfigError unless exactly one of `model` and `artifact` is given, for `batch_rows` below 1 or another template.
    """

    def __init__(
        self,
        model: str = "",
        *,
        artifact: str = "",
        artifacts: Artifacts | None = None,
        device: str = "auto",
        dtype: str = "auto",
        template: Literal["auto", "none"] = "auto",
        batch_rows: int = 8,
    ) -> None:
        if batch_rows < 1:
            raise ConfigError(f"batch_rows = {batch_rows}", "It is a number from 1", "batch_rows = 8")
        if template not in ("auto", "none"):
            raise ConfigError(f"template = '{template}'", "Known: auto, none", "template = 'auto'")
        if bool(model) == bool(artifact):
            found = "It has both" if model else "It has neither"
            raise ConfigError(
                "A local generator has a model or an artifact", found, 'artifact = "replies", or model = …'
            )
        if artifact and artifacts is None:
            raise ConfigError(
                f"artifact = '{artifact}'", "There is no workspace to look in", "artifacts = Artifacts(…)"
            )
        self.model, self._template, self._batch_rows = model or artifact, template, batch_rows
        self._artifacts, self._artifact = artifacts, artifact
        self._device, self._dtype = device, dtype
        self._lock = threading.Lock()
        self._loaded: Decoder | None = None

    @cached_property
    def folder(self) -> GeneratorFolder:
        """What the model's folder says; the files are found and checked on the first call."""
        if self._artifacts is not None and self._artifact:
            return read_generator(self._artifacts.open(self._artifact).folder / IN_ARTIFACT)
        return read_generator(resolve(self.model))

    def generate_many(
        self,
        prompts: Sequence[Prompt | str],
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> list[Generated]:
        """Return one answer per prompt, in the order of the prompts. Raises DataError for one that is too long."""
        sampling = Sampling(max_tokens, temperature, seed, tuple(stop))
        rows = [self._ids(as_prompt(prompt)) for prompt in prompts]
        order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
        found: dict[int, Generated] = {}
        for start in range(0, len(order), self._batch_rows):
            batch = order[start : start + self._batch_rows]
            *_, growing = self._load().answers([rows[at] for at in batch], sampling)
            found |= {at: each.done() for at, each in zip(batch, growing, strict=True)}
        return [found[at] for at in range(len(rows))]

    def stream(
        self,
        prompt: Prompt | str,
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> Iterator[Piece]:
        """Yield an answer as its tokens come; what may still become half a character or a stop text waits."""
        sampling = Sampling(max_tokens, temperature, seed, tuple(stop))
        return self._pieces(self._ids(as_prompt(prompt)), sampling)

    def warm_up(self) -> None:
        self._load()

    def info(self) -> GeneratorInfo:
        """Say what the generator runs as; loads no weights, but asks torch which devices there are."""
        device = choose_device(self._device, dtype=self._dtype)
        return GeneratorInfo(
            model=self.model,
            backend="torch",
            device=device.name,
            dtype=device.dtype,
            max_tokens=self.folder.max_tokens,
            parameters=self.folder.parameters,
            note=f"{'chat template' if self._chats else self._way}; {device.why}",
        )

    def close(self) -> None:
        """Let go of the weights; the next call loads them again."""
        with self._lock:
            self._loaded = None

    @property
    def _chats(self) -> bool:
        return bool(self.folder.template) and self._template == "auto"

    @property
    def _way(self) -> str:
        return "continues texts" if self.folder.start is None else "answers texts"

    def _pieces(self, row: list[int], sampling: Sampling) -> Iterator[Piece]:
        told = 0
        for (growing,) in self._load().answers([row], sampling):
            if (certain := growing.certain()) > told:
                yield Piece(growing.text[told:certain])
                told = certain
            if growing.finish:
                yield Piece("", growing.done())

    def _ids(self, prompt: Prompt) -> list[int]:
        if not self._chats and (prompt.system or prompt.before):
            found = "It is asked without a chat template" if self.folder.template else "It has no chat template"
            cure = "a prompt of text alone, or a model that was trained to chat"
            raise ConfigError(f"A conversation for the generator '{self.model}'", found, cure)
        text = rendered(self.folder, prompt) if self._chats else prompt.text
        ids = self._load().ids(text, marked=not self._chats)
        if not ids:
            raise DataError(f"A prompt for the generator '{self.model}'", "It is empty", "a text to continue")
        if len(ids) >= self.folder.max_tokens:
            found = (
                f"It has {len(ids)} tokens, the model room for {self.folder.max_tokens} and the answer is among them"
            )
            raise DataError(f"A prompt for the generator '{self.model}'", found, "a shorter text")
        return ids

    def _load(self) -> Decoder:
        with self._lock:
            if self._loaded is None:
                device = choose_device(self._device, dtype=self._dtype)
                self._loaded = Decoder(self.folder, device=device.name, dtype=device.dtype)
            return self._loaded
