"""What a generator is: prompts in, text out, whole or piece by piece."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from mercat.errors import ConfigError

Finish = Literal["stop", "length", "filtered"]
"""Why a text ended: the model or a stop text ended it, there was no more room, or a server held the rest back."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is to be answered: a text, what the model is told about its part, and what was said before."""

    text: str
    system: str = ""
    before: Sequence[tuple[Literal["user", "assistant"], str]] = ()

    def messages(self) -> list[dict[str, str]]:
        """Return the conversation as chat templates and servers take it, oldest first."""
        first = [("system", self.system)] if self.system else []
        return [{"role": role, "content": text} for role, text in (*first, *self.before, ("user", self.text))]


@dataclass(frozen=True, slots=True)
class Generated:
    """An answer without its prompt. Token counts are None where a server does not tell them."""

    text: str
    finish: Finish
    prompt_tokens: int | None
    tokens: int | None


@dataclass(frozen=True, slots=True)
class Piece:
    """The next part of an answer. The last piece has the whole answer in `done`, and may have no text of its own."""

    text: str
    done: Generated | None = None


@dataclass(frozen=True, slots=True)
class GeneratorInfo:
    """What a generator really runs as."""

    model: str
    backend: str  # "torch", "remote (openai)"
    device: str  # "cpu", "cuda:0", or the server's name
    dtype: str  # "" where a server does not tell
    max_tokens: int  # prompt and answer together; 0: not known
    parameters: int  # 0: not known
    note: str = ""


@runtime_checkable
class Generator(Protocol):
    """Continues prompts. The constructor is cheap; weights load on the first call or on `warm_up`.

    A text instead of a `Prompt` is one without `system` and `before`. `temperature` 0 takes the likeliest token each
    time; above 0 tokens are drawn, and the same `seed` draws the same ones. An answer ends before the first of the
    `stop` texts that it would contain. Raises ConfigError for values out of range.
    """

    def generate_many(
        self,
        prompts: Sequence[Prompt | str],
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> list[Generated]:
        """Return one answer per prompt, in the order of the prompts."""
        ...

    def stream(
        self,
        prompt: Prompt | str,
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> Iterator[Piece]:
        """Yield an answer piece by piece; the texts joined are that of the last piece's `done`."""
        ...

    def warm_up(self) -> None:
        """Load the weights, or ask the server whether it is there."""
        ...

    def info(self) -> GeneratorInfo:
        """Return what it really runs as: model, backend, device."""
        ...


@dataclass(frozen=True, slots=True)
class Sampling:
    """The options of a call, checked. Raises ConfigError for values out of range."""

    max_tokens: int
    temperature: float
    seed: int
    stop: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ConfigError(f"max_tokens = {self.max_tokens}", "It is a number from 1", "max_tokens = 256")
        if not (self.temperature >= 0 and math.isfinite(self.temperature)):
            found = "It is a number from 0, which takes the likeliest token"
            raise ConfigError(f"temperature = {self.temperature}", found, "temperature = 0.7")
        if not all(self.stop):
            raise ConfigError("stop holds an empty text", "Every text contains it", 'stop = ["\\n"]')


def as_prompt(prompt: Prompt | str) -> Prompt:
    """Return a text as a prompt without `system` and `before`."""
    return Prompt(prompt) if isinstance(prompt, str) else prompt


def until_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """Return a text up to the first of the stop texts, and whether there was one."""
    places = [place for each in stop if (place := text.find(each)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def settled(text: str, stop: Sequence[str]) -> int:
    """Return how many characters of a text that still grows can be told: what may begin a stop text must wait."""
    held = max((size for each in stop for size in range(1, len(each)) if text.endswith(each[:size])), default=0)
    return len(text) - held
