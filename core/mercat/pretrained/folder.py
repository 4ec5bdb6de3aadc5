"""What mercat refuses of a model's folder, with the reason, before any library reads it.

A folder may come from anywhere. Nothing in it may run code, reach outside of it, or claim sizes that its weights do not
have: each is an ArtifactError here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mercat.errors import ArtifactError
from mercat.pretrained.tensors import Tensor

VARIANT = "adapted"
ADAPTED, ADAPTERS = f"model.{VARIANT}.safetensors", "adapters.safetensors"  # a body, and what it is not served without
LARGEST_JSON = 64_000_000  # bytes; the largest tokenizers have 20 million
_CODE = ("auto_map", "trust_remote_code", "custom_pipelines", "custom_generate")
_ATTENTION = ("eager", "sdpa", "flash_attention_2", "flex_attention")
_PICKLED = {".bin", ".pt", ".pth", ".h5", ".msgpack", ".pkl", ".ckpt", ".npy", ".npz"}
_MOST = {
    "num_hidden_layers": 1_000,
    "num_attention_heads": 10_000,
    "max_position_embeddings": 10_000_000,
    "type_vocab_size": 10_000,
}


def read_json(path: Path, *, required: bool = False, kind: type = dict) -> Any:
    """Read a JSON file of a model folder, empty where it may be missing. Raises ArtifactError for what is none."""
    if not path.is_file():
        if required:
            raise ArtifactError(
                f"Model folder '{path.parent}'", f"It has no {path.name}", "the folder of a saved model"
            )
        return kind()
    plain_file(path)
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"Model config '{path}'", f"It is not JSON: {error}", "fetch the model again") from error
    if not isinstance(read, kind):
        raise ArtifactError(f"Model config '{path}'", f"It is no JSON {kind.__name__}", "fetch the model again")
    refuse_code(read, path)
    return read


def refuse_code(value: Any, path: Path) -> None:
    """Raise ArtifactError if a config holds, at any depth, what would run code of the folder's own or of a hub."""
    for key, inner in _items(value):
        if key in _CODE or key.endswith("_internal"):
            raise ArtifactError(f"Model config '{path}'", f"Its key '{key}' asks to run code", "a model without it")
        if key.strip("_") == "attn_implementation" and inner is not None and inner not in _ATTENTION:
            found = f"Its '{key}' names a kernel to fetch and run, {str(inner)[:60]!r}"
            raise ArtifactError(f"Model config '{path}'", found, f"one of {', '.join(_ATTENTION)}")


def refuse_adapter(folder: Path) -> None:
    """Raise ArtifactError for an adapter: transformers would load the base model that it names instead of this one."""
    if (folder / "adapter_config.json").exists():
        raise ArtifactError(
            f"Model folder '{folder}'",
            "It has an adapter_config.json, by which another model would be loaded",
            "the folder of the merged model",
        )


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the safetensors files of a folder: one, several parts, or a body and its adapters.

    Raises ArtifactError if there are none, or not all are inside.
    """
    if (single := folder / "model.safetensors").is_file():
        return (_inside(single),)
    if (body := folder / ADAPTED).is_file():
        if not (folder / ADAPTERS).is_file():
            raise ArtifactError(f"Weights in '{folder}'", f"It has {ADAPTED} without {ADAPTERS}", "the whole folder")
        return _inside(body), _inside(folder / ADAPTERS)
    index = read_json(folder / "model.safetensors.index.json")
    named = index.get("weight_map")
    names = sorted({str(name) for name in named.values()}) if isinstance(named, Mapping) else []
    for name in names:
        if Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            found = f"model.safetensors.index.json names {name[:80]!r}"
            raise ArtifactError(f"Weights in '{folder}'", found, "a model whose parts lie in its folder")
    files = tuple(folder / name for name in names)
    if files and all(file.is_file() for file in files):
        return tuple(map(_inside, files))
    other = sorted(file.name for file in folder.glob("*") if file.suffix in _PICKLED)
    found = f"It has {', '.join(other)}, which mercat never loads" if other else "It has no complete model.safetensors"
    raise ArtifactError(f"Weights in '{folder}'", found, "a model saved with safetensors")


def refuse_claims(config: Mapping[str, Any], weights: Mapping[str, Tensor], folder: Path) -> None:
    """Raise ArtifactError when a config claims more than the weights have: to build it would fill the memory."""
    have = sum(tensor.size for tensor in weights.values())
    hidden = _whole(config, "hidden_size", have, folder)
    for name, most in _MOST.items():
        _whole(config, name, most, folder)
    for name in ("vocab_size", "intermediate_size"):
        if (_whole(config, name, have, folder) or 0) * (hidden or 1) > have:
            found = f"config.json claims {name} = {config[name]}, its weights have {have} values in all"
            raise ArtifactError(f"Model folder '{folder}'", found, "the folder of a saved model")
    if (layers := config.get("num_hidden_layers")) and layers > len(weights):
        found = f"config.json claims {layers} layers, its weights have {len(weights)} tensors"
        raise ArtifactError(f"Model folder '{folder}'", found, "the folder of a saved model")
    pad = config.get("pad_token_id")
    if pad is not None and (type(pad) is not int or not -1 <= pad < (config.get("vocab_size") or have)):
        found = f"config.json claims pad_token_id = {str(pad)[:40]}"
        raise ArtifactError(f"Model folder '{folder}'", found, "the folder of a saved model")
    heads = config.get("num_attention_heads")
    if heads and hidden and config.get("model_type") == "bert" and hidden % heads:
        found = f"config.json claims {heads} attention heads for {hidden} dimensions"
        raise ArtifactError(f"Model folder '{folder}'", found, "the folder of a saved model")


def _whole(config: Mapping[str, Any], name: str, most: int, folder: Path) -> int | None:
    value = config.get(name)
    if value is not None and (type(value) is not int or not 0 < value <= most):
        found = f"config.json claims {name} = {str(value)[:40]}; it is a whole number from 1 to {most} here"
        raise ArtifactError(f"Model folder '{folder}'", found, "the folder of a saved model")
    return value


def plain_file(path: Path) -> Path:
    """Return a JSON file's path. Raises ArtifactError if it leads out of its folder or is too large to be read."""
    if _inside(path).stat().st_size > LARGEST_JSON:
        raise ArtifactError(f"Model config '{path}'", f"It has {path.stat().st_size} bytes", "another model")
    return path


def _inside(path: Path) -> Path:
    """Return a path that does not lead out of its folder; the hub's cache keeps its files beside its snapshots."""
    root = next((each for each in path.parents if each.name.startswith("models--")), path.parent).resolve()
    if not path.resolve().is_relative_to(root):
        found = f"{path.name} is a link to {path.resolve()}"
        raise ArtifactError(f"Model folder '{path.parent}'", found, "a model whose files lie in its folder")
    return path


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            yield from ((str(key), inner) for key, inner in each.items())
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
