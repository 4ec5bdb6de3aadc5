"""The folder of a generator: what it says about itself, read without loading weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mercat.errors import ArtifactError
from mercat.generators.base import Prompt
from mercat.pretrained.folder import plain_file, read_json, refuse_adapter, refuse_claims, weight_files
from mercat.pretrained.tensors import read_header

_CURE = "the folder of a causal or sequence-to-sequence language model"
_CAUSAL, _SEQ2SEQ = ("CausalLM", "LMHeadModel"), ("ForConditionalGeneration",)
_LARGEST = 1_000_000  # tokenizers write 1e30 where they mean "no limit"
_ROOM = 512  # of a sequence-to-sequence model that tells none: what T5 was trained with


@dataclass(frozen=True, slots=True)
class GeneratorFolder:
    """A model's folder. `ends` are the tokens that end an answer, `max_tokens` the room for prompt and answer.

    `start` is the token that the answers of a sequence-to-sequence model begin with, whose prompt and answer have that
    room each; None: a causal model, which continues its prompt. `template` is the chat template, "" for a model without
    one; `marks` are the texts of its special tokens, which a template may use.
    """

    folder: Path
    config: Mapping[str, Any]
    max_tokens: int
    parameters: int
    ends: frozenset[int]
    template: str
    marks: Mapping[str, str]
    start: int | None = None


def read_generator(folder: Path) -> GeneratorFolder:
    """Read a folder in the layout of the Hugging Face hub.

    Raises ArtifactError if a file is missing, the weights are not safetensors, the model generates no text, or for what
    `mercat.pretrained.folder` refuses.
    """
    config = read_json(folder / "config.json", required=True)
    refuse_adapter(folder)
    tensors = {name: tensor for file in weight_files(folder) for name, tensor in read_header(file).items()}
    refuse_claims(config, tensors, folder)
    kinds = config.get("architectures") or []
    two = bool(config.get("is_encoder_decoder"))
    if not any(str(kind).endswith(_SEQ2SEQ if two else _CAUSAL) for kind in kinds):
        found = f"config.json says architectures = {str(kinds)[:60]}"
        raise ArtifactError(f"Model folder '{folder}' as a generator", found, _CURE)
    if not (folder / "tokenizer.json").is_file():
        raise ArtifactError(f"Model folder '{folder}'", "It has no tokenizer.json", "a model with a fast tokenizer")
    plain_file(folder / "tokenizer.json")
    generation, tokenizer = (read_json(folder / name) for name in ("generation_config.json", "tokenizer_config.json"))
    room = config.get("max_position_embeddings") or config.get("n_positions")
    if two and room is None:
        told = tokenizer.get("model_max_length")
        room = told if type(told) is int and 0 < told < _LARGEST else _ROOM
    if type(room) is not int or room < 2:
        raise ArtifactError(f"Model folder '{folder}'", "config.json does not say max_position_embeddings", _CURE)
    return GeneratorFolder(
        folder=folder,
        config=config,
        max_tokens=room,
        parameters=sum(tensor.size for tensor in tensors.values() if tensor.is_floating),
        ends=_ends(generation.get("eos_token_id", config.get("eos_token_id")), folder),
        template=_template(folder, tokenizer),
        marks={key: _text_of(value) for key, value in tokenizer.items() if key.endswith("_token")},
        start=_start(generation, config, folder) if two else None,
    )


def rendered(read: GeneratorFolder, prompt: Prompt) -> str:
    """Return a conversation as the model's chat template writes it, up to where its answer begins.

    The template is a program of the folder's: it runs in Jinja's immutable sandbox, as it does in transformers. Raises
    ArtifactError for one that fails.
    """
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    sandbox = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, autoescape=False)
    sandbox.globals["raise_exception"] = refuse
    try:
        template = sandbox.from_string(read.template)
        return template.render(messages=prompt.messages(), add_generation_prompt=True, **read.marks)
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        found = f"It fails: {type(error).__name__}: {str(error)[:200]}"
        raise ArtifactError(f"The chat template of '{read.folder}'", found, 'template = "none"') from error


def _ends(found: Any, folder: Path) -> frozenset[int]:
    ends = found if isinstance(found, list) else [] if found is None else [found]
    if not all(type(end) is int for end in ends):
        raise ArtifactError(f"Model folder '{folder}'", f"eos_token_id = {str(found)[:40]} is no token", _CURE)
    return frozenset(ends)


def _start(generation: Mapping[str, Any], config: Mapping[str, Any], folder: Path) -> int:
    start = generation.get("decoder_start_token_id", config.get("decoder_start_token_id"))
    if type(start) is not int or not 0 <= start < (config.get("vocab_size") or _LARGEST):
        raise ArtifactError(f"Model folder '{folder}'", f"decoder_start_token_id = {str(start)[:40]}", _CURE)
    return start


def _template(folder: Path, tokenizer: Mapping[str, Any]) -> str:
    if (file := folder / "chat_template.jinja").is_file():
        return plain_file(file).read_text(encoding="utf-8")
    found = tokenizer.get("chat_template")
    if isinstance(found, list):  # several by name
        found = next((each.get("template") for each in found if each.get("name") == "default"), None)
    return found if isinstance(found, str) else ""


def _text_of(token: Any) -> str:
    return str(token.get("content", "")) if isinstance(token, Mapping) else str(token or "")
