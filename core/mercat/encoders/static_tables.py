"""The folder of a static model as model2vec writes it, checked before a library reads it, and written back.

`config.json`, `tokenizer.json`, and in `model.safetensors` the tensors `embeddings` (rows, dimensions), `weights`
(tokens) and `mapping` (tokens, the row of each); the latter two may be missing (https://github.com/MinishLab/model2vec).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import load_arrays, save_arrays
from mercat.encoders.base import Vectors
from mercat.errors import ArtifactError, missing_extra
from mercat.pretrained.folder import plain_file, read_json, weight_files
from mercat.pretrained.sums import sha256
from mercat.pretrained.tensors import Tensor, read_header

MAX_TOKENS = 512  # model2vec's own default
_TYPES = {"embeddings": {"F16", "F32", "F64", "I8"}, "weights": {"F16", "F32", "F64"}, "mapping": {"I32", "I64"}}
_CURE = "a folder that model2vec or the recipe distill-static wrote"


@dataclass(frozen=True, slots=True)
class StaticFolder:
    """What the folder of a static model says about itself. `max_tokens` is 0 for no limit."""

    folder: Path
    weights: Path
    weights_sha256: str
    tokenizer_sha256: str
    rows: int
    dimensions: int
    parameters: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class StaticTables:
    """A static model in memory: `rows` of shape (rows, dimensions), float32.

    `weights` and `mapping` have one value per token of the tokenizer where the model has them.
    """

    rows: Vectors
    weights: Vectors | None
    mapping: NDArray[np.int64] | None


def read_static(folder: Path) -> StaticFolder:
    """Read a folder's configuration and header, no weights.

    Raises ArtifactError for files that are missing or do not fit one another, and for what `folder` refuses.
    """
    config = read_json(folder / "config.json", required=True)
    if not (folder / "tokenizer.json").is_file():
        raise ArtifactError(f"Model folder '{folder}'", "It has no tokenizer.json", _CURE)
    plain_file(folder / "tokenizer.json")
    (weights, *more) = weight_files(folder)
    tensors = read_header(weights)
    if more or "embeddings" not in tensors:
        raise ArtifactError(f"Model folder '{folder}'", "model.safetensors has no tensor 'embeddings'", _CURE)
    _check_shapes(folder, tensors)
    rows, dimensions = tensors["embeddings"].shape
    return StaticFolder(
        folder=folder,
        weights=weights,
        weights_sha256=sha256(weights),
        tokenizer_sha256=sha256(folder / "tokenizer.json"),
        rows=rows,
        dimensions=dimensions,
        parameters=sum(tensor.size for tensor in tensors.values()),
        max_tokens=_max_tokens(config, folder),
    )


def load_static(read: StaticFolder, *, tokens: int) -> StaticTables:
    """Load the tables of a folder whose tokenizer has so many tokens.

    Raises ArtifactError for tables that do not cover them, and for values that are not finite.
    """
    arrays = load_arrays(read.weights)
    rows, weights, mapping = (arrays.get(name) for name in ("embeddings", "weights", "mapping"))
    asked = f"Model folder '{read.folder}'"
    if mapping is None and read.rows != tokens:
        found = f"tokenizer.json has {tokens} tokens, the embeddings {read.rows} rows"
        raise ArtifactError(asked, found, "the tokenizer that belongs to the model")
    for name, array in (("weights", weights), ("mapping", mapping)):
        if array is not None and len(array) != tokens:
            found = f"tokenizer.json has {tokens} tokens, '{name}' {len(array)} values"
            raise ArtifactError(asked, found, "the tokenizer that belongs to the model")
    if mapping is not None and not (mapping.min() >= 0 and mapping.max() < read.rows):
        raise ArtifactError(asked, f"'mapping' names rows beyond the {read.rows} that there are", _CURE)
    tables = StaticTables(
        rows=np.asarray(rows, dtype=np.float32),
        weights=None if weights is None else np.asarray(weights, dtype=np.float32),
        mapping=None if mapping is None else np.asarray(mapping, dtype=np.int64),
    )
    if not np.isfinite(tables.rows).all() or (tables.weights is not None and not np.isfinite(tables.weights).all()):
        raise ArtifactError(asked, "Its tables hold values that are not finite", _CURE)
    return tables


def save_static(
    folder: Path,
    *,
    embeddings: NDArray[Any],
    tokenizer: Any,
    weights: NDArray[Any] | None = None,
    mapping: NDArray[Any] | None = None,
    max_tokens: int = MAX_TOKENS,
    details: dict[str, Any] | None = None,
) -> Path:
    """Write a static model in model2vec's format; `StaticModel.from_pretrained` and `Static` both load it.

    `embeddings` has shape (rows, dimensions), one row per token unless `mapping` says which. `details` go into
    `config.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"embeddings": embeddings, "weights": weights, "mapping": mapping}
    save_arrays(folder / "model.safetensors", {name: each for name, each in arrays.items() if each is not None})
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {
        "model_type": "model2vec",
        "architectures": ["StaticModel"],
        "hidden_dim": int(embeddings.shape[1]),
        "seq_length": 1_000_000,
        "normalize": True,
        "max_length": max_tokens or None,
        "embedding_dtype": str(embeddings.dtype),
        **(details or {}),
    }
    if mapping is not None:
        config["vocabulary_quantization"] = len(embeddings)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    kinds = {"StaticEmbedding": ".", "Normalize": "1_Normalize"}
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (kind, path) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules, indent=2), encoding="utf-8")
    return folder


def load_tokenizer(folder: Path) -> Any:
    """Return the `tokenizers.Tokenizer` of a folder. Raises ArtifactError for one that cannot be read."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise missing_extra("A static encoder", "tokenizers", "serve") from error
    try:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises no type of its own
        found = f"tokenizer.json cannot be read: {error}"
        raise ArtifactError(f"Model folder '{folder}'", found, "fetch the model again") from error


def unknown_token(tokenizer: Any) -> int | None:
    """Return the id of the token that stands for what is not in the vocabulary; None without one."""
    model = tokenizer.model
    if hasattr(model, "unk_token"):
        return None if model.unk_token is None else tokenizer.token_to_id(model.unk_token)
    found: int | None = json.loads(tokenizer.to_str())["model"].get("unk_id")
    return found


def _check_shapes(folder: Path, tensors: dict[str, Tensor]) -> None:
    for name, types in _TYPES.items():
        tensor = tensors.get(name)
        if tensor is None:
            continue
        axes = 2 if name == "embeddings" else 1
        if tensor.dtype not in types or len(tensor.shape) != axes or not tensor.size:
            found = f"Its tensor '{name}' is {tensor.dtype} of shape {list(tensor.shape)}"
            wanted = f"{axes} axes of {', '.join(sorted(types))}; {_CURE}"
            raise ArtifactError(f"Model folder '{folder}'", found, wanted)


def _max_tokens(config: dict[str, Any], folder: Path) -> int:
    limit = config.get("max_length", MAX_TOKENS)
    if limit is not None and (type(limit) is not int or limit < 1):
        found = f"config.json claims max_length = {str(limit)[:40]}"
        raise ArtifactError(f"Model folder '{folder}'", found, _CURE)
    return limit or 0
