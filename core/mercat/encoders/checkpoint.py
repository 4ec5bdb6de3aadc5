"""What the folder of a pretrained model says about itself, read without loading weights or importing torch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mercat.encoders.exported import is_export, read_description
from mercat.errors import ArtifactError
from mercat.pretrained.folder import plain_file, read_json, refuse_adapter, refuse_claims, weight_files
from mercat.pretrained.sums import sha256
from mercat.pretrained.tensors import read_header

POOLINGS = ("mean", "cls", "last", "token-N")
"""How the vectors of tokens become one: their mean, the first, the last, or number N of them, from 0 on."""
_LARGEST = 1_000_000  # tokenizers write 1e30 where they mean "no limit"
_E5 = re.compile(r"(^|[^a-z0-9])e5([^a-z0-9]|$)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model folder: transformer body, tokenizer, pooling.

    `weights_sha256` covers every weight file, `tokenizer_sha256` the tokenizer: together they fix the vector space.
    Of an export, `exported` names the backend that it is for, `quantise` what its weights were rounded to; `weights` is
    empty.
    """

    folder: Path
    config: Mapping[str, Any]
    weights: tuple[Path, ...]
    weights_sha256: str
    tokenizer_sha256: str
    dimensions: int
    parameters: int
    max_tokens: int
    pooling: str
    lower_case: bool
    query_prefix: str
    document_prefix: str
    exported: str = ""
    quantise: str = ""

    @property
    def pad_id(self) -> int:
        return int(self.config.get("pad_token_id") or 0)


def is_pooling(name: str) -> bool:
    """Return whether there is a pooling of this name."""
    return name in POOLINGS[:-1] or re.fullmatch(r"token-\d{1,3}", name) is not None


def place_of(pooling: str) -> int | None:
    """Return the number of the one token that a pooling takes, counted from the first; None for another pooling."""
    if pooling == "cls":
        return 0
    return int(pooling.removeprefix("token-")) if pooling.startswith("token-") else None


def read_checkpoint(folder: Path, *, name: str = "") -> Checkpoint:
    """Read a folder in the layout of the Hugging Face hub (sentence-transformers files are used where present).

    The folder of an export stands for the model that it was exported from. Raises ArtifactError if a file is missing,
    the weights are not safetensors, or for what `folder` or `exported` refuses.
    """
    if is_export(folder):
        return _exported(folder)
    config = read_json(folder / "config.json", required=True)
    refuse_adapter(folder)
    weights = weight_files(folder)
    tensors = {name: tensor for file in weights for name, tensor in read_header(file).items()}
    refuse_claims(config, tensors, folder)
    if not (folder / "tokenizer.json").is_file():
        raise ArtifactError(f"Model folder '{folder}'", "It has no tokenizer.json", "a model with a fast tokenizer")
    plain_file(folder / "tokenizer.json")
    dimensions = config.get("hidden_size") or config.get("dim") or config.get("d_model")
    if not isinstance(dimensions, int):
        raise ArtifactError(f"Model folder '{folder}'", "config.json has no hidden_size", "an encoder model")
    pooling = _pooling(folder)
    sentence = read_json(folder / "sentence_bert_config.json")
    query_prefix, document_prefix = _prefixes(folder, name)
    return Checkpoint(
        folder=folder,
        config=config,
        weights=weights,
        weights_sha256=_joint_sha256(weights),
        tokenizer_sha256=sha256(folder / "tokenizer.json"),
        dimensions=dimensions,
        parameters=sum(tensor.size for tensor in tensors.values() if tensor.is_floating),
        max_tokens=_max_tokens(folder, config, sentence),
        pooling=pooling,
        lower_case=bool(sentence.get("do_lower_case", False)),
        query_prefix=query_prefix,
        document_prefix=document_prefix,
    )


def _exported(folder: Path) -> Checkpoint:
    """Return what an export says of the encoder whose vectors it gives."""
    read = read_description(folder)
    said = read["encoder"]
    tokenizer = plain_file(folder / "tokenizer.json")
    return Checkpoint(
        folder=folder,
        config={
            "model_type": said["model_type"],
            "hidden_size": said["dimensions"],
            "vocab_size": said["vocab_size"],
            "pad_token_id": said["pad_id"],
        },
        weights=(),
        weights_sha256=said["weights_sha256"],
        tokenizer_sha256=sha256(tokenizer),
        dimensions=said["dimensions"],
        parameters=said["parameters"],
        max_tokens=said["max_tokens"],
        pooling=said["pooling"],
        lower_case=said["lower_case"],
        query_prefix=said["query_prefix"],
        document_prefix=said["document_prefix"],
        exported=read["backend"],
        quantise=read["quantise"],
    )


def _joint_sha256(files: tuple[Path, ...]) -> str:
    found = [sha256(file) for file in files]
    return found[0] if len(found) == 1 else hashlib.sha256("".join(found).encode()).hexdigest()


def _pooling(folder: Path) -> str:
    """Return how tokens become one vector, as the folder's `modules.json` and `1_Pooling` say; mean without them."""
    modules = read_json(folder / "modules.json", kind=list)
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules if isinstance(module, Mapping)]
    if strange := [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]:
        found = f"modules.json has the layer '{strange[0]}', which mercat does not run"
        raise ArtifactError(f"Model folder '{folder}'", found, "a model of Transformer, Pooling and Normalize")
    config = read_json(folder / "1_Pooling" / "config.json")
    if isinstance(mode := config.get("pooling_mode"), str):
        chosen = {"lasttoken": "last"}.get(mode, mode)
    else:
        flags = {"mean_tokens": "mean", "cls_token": "cls", "lasttoken": "last"}
        on = [key.removeprefix("pooling_mode_") for key, value in config.items() if value is True and "_mode_" in key]
        chosen = flags.get(on[0], on[0]) if len(on) == 1 else "+".join(on) or "mean"
    if not is_pooling(chosen):
        raise ArtifactError(f"Pooling '{chosen}' of '{folder}'", f"Known: {', '.join(POOLINGS)}", "pooling = 'mean'")
    return chosen


def _max_tokens(folder: Path, config: Mapping[str, Any], sentence: Mapping[str, Any]) -> int:
    positions = int(config.get("max_position_embeddings") or 0)
    if config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        positions -= 2  # these count positions from the pad id on
    tokenizer = read_json(folder / "tokenizer_config.json").get("model_max_length")
    found = [sentence.get("max_seq_length"), tokenizer, positions]
    limits = [int(limit) for limit in found if isinstance(limit, int | float) and 0 < limit < _LARGEST]
    return min(limits, default=512)


def _prefixes(folder: Path, name: str) -> tuple[str, str]:
    """Return the words that the model wants before queries and documents."""
    prompts = read_json(folder / "config_sentence_transformers.json").get("prompts")
    prompts = prompts if isinstance(prompts, Mapping) else {}
    query = prompts.get("query", "")
    document = prompts.get("document") or prompts.get("passage") or ""
    if not (query or document) and any(_E5.search(text.lower()) for text in (Path(name).name, folder.name)):
        return "query: ", "passage: "
    return str(query), str(document)
