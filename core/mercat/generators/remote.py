"""A generator that runs elsewhere: any server with an OpenAI-compatible `/chat/completions`."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from mercat.connect import Bearer, Client
from mercat.errors import ConfigError, ConnectError
from mercat.generators.base import Finish, Generated, GeneratorInfo, Piece, Prompt, Sampling, as_prompt, until_stop

_FINISHES: Mapping[str, Finish] = {"stop": "stop", "length": "length", "content_filter": "filtered"}


class OpenAI:
    """Asks a server for answers; prompts leave this machine.

    `url` is the address before `/chat/completions` ("https://api.example/v1"). Addresses inside private networks are
    refused unless `allow` names their host. Prompts are asked one after the other. `seed` is sent, but servers promise
    little for it. `max_tokens_key` is what a server calls the limit: "max_completion_tokens" with some models. A stream
    may be silent for `timeout_s` and last `total_s`.

    Errors of every call: ConnectError when the server does not answer as it should (RequestFailed for a status,
    AddressRefused for its address). Raises ConfigError without a `url` or a `model`.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str,
        api_key: str = "",
        allow: Sequence[str] = (),
        max_tokens_key: str = "max_tokens",
        timeout_s: float = 120.0,
        total_s: float = 600.0,
        retries: int = 3,
        max_bytes: int = 20_000_000,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not url or not model:
            raise ConfigError(
                "A remote generator needs url and model", f"url '{url}', model '{model}'", "mercat config"
            )
        self.url, self.model = url.rstrip("/"), model
        self._max_tokens_key, self._total_s = max_tokens_key, total_s
        self._client = Client(
            allow=allow,
            timeout_s=timeout_s,
            retries=retries,
            max_bytes=max_bytes,
            auth=Bearer(api_key) if api_key else None,
            sleep=sleep,
        )

    def __repr__(self) -> str:
        return f"OpenAI('{self.url}', model='{self.model}')"

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
        sampling = Sampling(max_tokens, temperature, seed, tuple(stop))
        return [self._one(as_prompt(prompt), sampling) for prompt in prompts]

    def stream(
        self,
        prompt: Prompt | str,
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> Iterator[Piece]:
        """Yield an answer as the server sends it; the last piece has the whole. Close the iterator to hang up early."""
        body = self._body(as_prompt(prompt), Sampling(max_tokens, temperature, seed, tuple(stop)))
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        return self._pieces(body)

    def warm_up(self) -> None:
        """Ask the server for one token, so that what is wrong shows now."""
        self.generate_many(["Hello"], max_tokens=1)

    def info(self) -> GeneratorInfo:
        """Say what is asked, and where; asks nothing."""
        note = "prompts leave this machine"
        return GeneratorInfo(self.model, "remote (openai)", urlsplit(self.url).netloc, "", 0, 0, note)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _one(self, prompt: Prompt, sampling: Sampling) -> Generated:
        body = self._body(prompt, sampling)
        answer = self._client.post(f"{self.url}/chat/completions", json=body, headers=_key(body)).json()
        choice = self._choice(answer)
        message = choice.get("message")
        text = message.get("content") if isinstance(message, dict) else None
        finish = _FINISHES.get(str(choice.get("finish_reason")))
        if finish is None or not isinstance(text, str | None):
            raise self._wrong(f"A choice without a text that ended ({str(choice)[:80]})")
        return _generated(text or "", finish, answer.get("usage"), sampling.stop)

    def _pieces(self, body: dict[str, Any]) -> Iterator[Piece]:
        text, finish, usage = "", None, None
        lines = self._client.lines(f"{self.url}/chat/completions", json=body, headers=_key(body), total_s=self._total_s)
        for data in events(lines):
            if data == "[DONE]":
                break
            chunk = self._parsed(data)
            usage = chunk.get("usage") or usage
            if not chunk.get("choices") and "choices" in chunk:  # the last one may hold the counts alone
                continue
            choice = self._choice(chunk)
            delta = choice.get("delta")
            piece = (delta.get("content") or "") if isinstance(delta, dict) else ""
            finish = _FINISHES.get(str(choice.get("finish_reason"))) or finish
            if not isinstance(piece, str):
                raise self._wrong(f"A piece that is no text ({str(piece)[:80]})")
            if piece:
                text += piece
                yield Piece(piece)
        if finish is None:
            raise self._wrong(f"An answer that broke off after {len(text)} characters")
        yield Piece("", _generated(text, finish, usage, ()))

    def _parsed(self, data: str) -> dict[str, Any]:
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            chunk = None
        if not isinstance(chunk, dict) or "error" in chunk:
            raise self._wrong(f"In the midst of the answer: {data[:120]}")
        return chunk

    def _choice(self, answer: Any) -> dict[str, Any]:
        choices = answer.get("choices") if isinstance(answer, dict) else None
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise self._wrong(f"An answer without choices ({str(answer)[:80]})")
        return choices[0]

    def _body(self, prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
        body = {
            "model": self.model,
            "messages": prompt.messages(),
            self._max_tokens_key: sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
        }
        return body | ({"stop": list(sampling.stop)} if sampling.stop else {})

    def _wrong(self, found: str) -> ConnectError:
        asked = f"An answer of '{self.model}' was asked of {urlsplit(self.url).netloc}"
        return ConnectError(asked, found, "the log of that server, or another one")


def events(lines: Iterator[str]) -> Iterator[str]:
    """Yield the data of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    held: list[str] = []
    for line in lines:
        if line.startswith("data:"):
            held.append(line[5:].removeprefix(" "))
        elif not line and held:
            yield "\n".join(held)
            held = []
    if held:  # some servers leave out the empty line at the end
        yield "\n".join(held)


def _key(body: Mapping[str, Any]) -> dict[str, str]:
    """Asking twice does no harm, so a request that failed may be sent again."""
    return {"idempotency-key": hashlib.sha256(json.dumps(body).encode()).hexdigest()}


def _generated(text: str, finish: Finish, usage: Any, stop: Sequence[str]) -> Generated:
    """Return an answer with the server's counts; a stop text that it left in is cut."""
    counts = usage if isinstance(usage, dict) else {}
    prompt_tokens, tokens = (
        count if type(count := counts.get(name)) is int else None for name in ("prompt_tokens", "completion_tokens")
    )
    text, stopped = until_stop(text, stop)
    return Generated(text, "stop" if stopped else finish, prompt_tokens, tokens)
