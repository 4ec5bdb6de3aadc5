"""From token ids to token ids: one token a step, greedy or drawn; batches of prompts to continue, or to answer."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mercat.errors import ArtifactError, missing_extra
from mercat.generators.base import Finish, Generated, Sampling, settled, until_stop
from mercat.generators.folder import GeneratorFolder

if TYPE_CHECKING:
    import torch

_TAIL = 8  # tokens of a prompt that show how the first token after it is spelled
_UNFINISHED = "\ufffd"  # what half a character is decoded to


class Decoder:
    """Weights and tokenizer of a model. Raises ArtifactError for a folder that cannot be loaded."""

    def __init__(self, read: GeneratorFolder, *, device: str, dtype: str) -> None:
        self.read, self.device = read, device
        self.tokenizer = load_tokenizer(read)
        self.module = load_module(read, dtype=dtype).eval().to(device)
        self._takes = set(inspect.signature(self.module.forward).parameters)

    def ids(self, text: str, *, marked: bool) -> list[int]:
        """Return the tokens of a prompt; `marked` puts the marks around it that the tokenizer knows."""
        clean = text.encode("utf-8", "replace").decode("utf-8")
        return list(self.tokenizer.encode(clean, add_special_tokens=marked).ids)

    def answers(self, rows: Sequence[Sequence[int]], sampling: Sampling) -> Iterator[list[Growing]]:
        """Yield the answers to prompts of token ids after each step, until all have ended. Raises ArtifactError.

        Each row draws from a random generator of its own, so it gets the same answer alone and among others.
        """
        import torch

        growing = [Growing(self, row, sampling) for row in rows]
        draws = [torch.Generator().manual_seed(sampling.seed) for _ in rows]
        for logits, step in self._steps(rows) if self.read.start is None else self._answers(rows, self.read.start):
            if torch.isnan(logits).any():
                found = "It gives scores that are not numbers"
                raise ArtifactError(f"Model folder '{self.read.folder}'", found, "dtype = 'float32', or another model")
            if sampling.temperature:
                chances = torch.softmax(logits.double().cpu() / sampling.temperature, dim=-1)
                tokens = [
                    int(torch.multinomial(row, 1, generator=draw)) for row, draw in zip(chances, draws, strict=True)
                ]
            else:
                tokens = logits.argmax(dim=-1).tolist()
            for each, token in zip(growing, tokens, strict=True):
                each.add(token)
            yield growing
            if all(each.finish for each in growing):
                return
            step(tokens)

    def _steps(self, rows: Sequence[Sequence[int]]) -> Iterator[tuple[torch.Tensor, Any]]:
        """Yield the scores of the next token, shape (rows, vocabulary), and what is told the chosen ones.

        Rows are padded on the left.
        """
        import torch

        width = max(map(len, rows))
        ids, mask = torch.zeros((2, len(rows), width), dtype=torch.long, device=self.device)
        for at, row in enumerate(rows):
            ids[at, width - len(row) :] = torch.tensor(row, device=self.device)
            mask[at, width - len(row) :] = 1
        cache = None

        def step(tokens: Sequence[int]) -> None:
            nonlocal ids, mask
            ids = torch.tensor(tokens, device=self.device)[:, None]
            mask = torch.cat([mask, mask.new_ones((len(rows), 1))], dim=1)

        while True:
            given = {"input_ids": ids, "attention_mask": mask, "past_key_values": cache, "use_cache": True}
            if "position_ids" in self._takes:
                given["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            if "logits_to_keep" in self._takes:
                given["logits_to_keep"] = 1
            with torch.inference_mode():
                out = self.module(**given)
            cache = out.past_key_values
            yield out.logits[:, -1].float(), step

    def _answers(self, rows: Sequence[Sequence[int]], start: int) -> Iterator[tuple[torch.Tensor, Any]]:
        """Do as `_steps` does where a second half of the model answers what the first has read."""
        import torch

        width = max(map(len, rows))
        ids, mask = torch.zeros((2, len(rows), width), dtype=torch.long, device=self.device)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = torch.tensor(row, device=self.device)
            mask[at, : len(row)] = 1
        with torch.inference_mode():
            read = self.module.get_encoder()(input_ids=ids, attention_mask=mask)
        last, cache = torch.full((len(rows), 1), start, device=self.device), None

        def step(tokens: Sequence[int]) -> None:
            nonlocal last
            last = torch.tensor(tokens, device=self.device)[:, None]

        while True:
            with torch.inference_mode():
                out = self.module(
                    encoder_outputs=read,
                    attention_mask=mask,
                    decoder_input_ids=last,
                    past_key_values=cache,
                    use_cache=True,
                )
            cache = out.past_key_values
            yield out.logits[:, -1].float(), step


class Growing:
    """An answer that grows by a token at a time, until `finish` says why it ended."""

    def __init__(self, decoder: Decoder, prompt: Sequence[int], sampling: Sampling) -> None:
        self._tokenizer, self._ends, self._stop = decoder.tokenizer, decoder.read.ends, sampling.stop
        apart = decoder.read.start is not None
        self._tail = [] if apart else list(prompt[-_TAIL:])
        self._before = self._tokenizer.decode(self._tail)
        self._room = min(sampling.max_tokens, decoder.read.max_tokens - (0 if apart else len(prompt)))
        self._prompt_tokens, self._tokens = len(prompt), list[int]()
        self.text = ""
        self.finish: Finish | None = None

    def add(self, token: int) -> None:
        """Take the next token, unless the answer has ended."""
        if self.finish:
            return
        if token in self._ends:
            self.finish = "stop"
            return
        self._tokens.append(token)
        whole = self._tokenizer.decode([*self._tail, *self._tokens])
        # the tokens alone would lose the space before the first word
        whole = whole[len(self._before) :] if whole.startswith(self._before) else self._tokenizer.decode(self._tokens)
        self.text, stopped = until_stop(whole, self._stop)
        if stopped:
            self.finish = "stop"
        elif len(self._tokens) >= self._room:
            self.finish = "length"

    def certain(self) -> int:
        """Return how many characters of the text no later token will change."""
        if self.finish:
            return len(self.text)
        return settled(self.text.rstrip(_UNFINISHED), self._stop)

    def done(self) -> Generated:
        """Return the whole answer."""
        return Generated(self.text, self.finish or "length", self._prompt_tokens, len(self._tokens))


def load_tokenizer(read: GeneratorFolder) -> Any:
    """Return the `tokenizers.Tokenizer`, which neither cuts nor pads.

    Raises ArtifactError for one that cannot be read or does not fit the model, MissingExtra.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise missing_extra("A local generator", "tokenizers", "train") from error
    try:
        tokenizer = Tokenizer.from_file(str(read.folder / "tokenizer.json"))
    except Exception as error:  # the library raises no type of its own
        found = f"tokenizer.json cannot be read: {error}"
        raise ArtifactError(f"Model folder '{read.folder}'", found, "fetch the model again") from error
    words = read.config.get("vocab_size")
    if words and (most := max(tokenizer.get_vocab().values(), default=0)) >= words:
        found = f"tokenizer.json has the token {most}, config.json {words} tokens"
        raise ArtifactError(f"Model folder '{read.folder}'", found, "the tokenizer that belongs to the model")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def load_module(read: GeneratorFolder, *, dtype: str) -> Any:
    """Return the model as a transformers module. Raises ArtifactError for one that cannot be loaded, MissingExtra."""
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM
        from transformers.utils import logging
    except ImportError as error:
        raise missing_extra("A local generator", error.name or "transformers", "train") from error
    bars: Any = logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        kind: Any = AutoModelForCausalLM if read.start is None else AutoModelForSeq2SeqLM
        return kind.from_pretrained(
            read.folder,
            dtype=getattr(torch, dtype),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (ValueError, OSError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        found = f"transformers cannot load it: {error}"
        raise ArtifactError(f"Model folder '{read.folder}'", found, "another model") from error
    finally:
        if shown:
            bars.enable_progress_bar()
