"""The folder of an exported encoder: where it lies, what it holds, and what is refused before anything of it runs.

The forward pass with pooling and scaling is one graph for another runtime. Beside it lie the tokenizer and
`mercat-export.json`: whose vectors the graph gives, the sums of the files, and how near to the original they came.
Such a folder stands for a model by itself: it encodes without the original's weights and without torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mercat.errors import ArtifactError
from mercat.pretrained.folder import plain_file, read_json
from mercat.pretrained.sums import sha256

SCHEMA = 1
DESCRIPTION = "mercat-export.json"
TOKENIZER = "tokenizer.json"
GRAPHS = {"onnx": ("model.onnx",), "openvino": ("model.xml", "model.bin")}
INT8 = "int8"
AGAIN = "mercat models export"
_WORDS = {"weights_sha256", "tokenizer_sha256", "pooling", "query_prefix", "document_prefix", "model_type"}
_WHOLE = {"dimensions": 1, "parameters": 0, "max_tokens": 1, "vocab_size": 0, "pad_id": 0}  # each with its least value


@dataclass(frozen=True, slots=True)
class Exported:
    """An exported encoder whose description was read and whose files have the sums it names.

    `fingerprint` is that of the vectors it gives. `parity` has, for each number format that was measured, the least and
    the mean cosine to the vectors of the original in float32. `speed` is what `mercat.encoders.speed` measured.
    """

    folder: Path
    backend: str
    quantise: str
    fingerprint: str
    parity: Mapping[str, Mapping[str, float]]
    speed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def graph(self) -> Path:
        """The file that the runtime opens."""
        return self.folder / GRAPHS[self.backend][0]

    def nearness(self, dtype: str) -> str:
        """Say in words how near the vectors came to the original, in the number format that is run."""
        measured = self.parity.get(dtype)
        if measured is None:
            return f"nearness to the original not measured in {dtype}"
        return f"cosine to the original at least {measured['least']:.4f} on {measured['texts']:.0f} texts"


def is_export(folder: Path) -> bool:
    """Return whether a folder says that it is an export."""
    return (folder / DESCRIPTION).is_file()


def exports_root(workspace_folder: Path | None) -> Path:
    """Return where exports are kept: in the workspace, or without one in the user's cache folder."""
    if workspace_folder is not None:
        return workspace_folder / "exports"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mercat" / "exports"


def place(root: Path, fingerprint: str, backend: str) -> Path:
    """Return the folder of the export of one encoder for one backend."""
    return root / f"{fingerprint[:16]}-{backend}"


def read_description(folder: Path) -> dict[str, Any]:
    """Return what an export says about itself.

    Raises ArtifactError if it is not there, not ours, of another schema, or has a value that cannot be.
    """
    if not is_export(folder):
        raise ArtifactError(f"Export '{folder}'", f"It has no {DESCRIPTION}", AGAIN)
    read: dict[str, Any] = read_json(folder / DESCRIPTION)
    if read.get("schema") != SCHEMA:
        found = f"{DESCRIPTION} has schema {str(read.get('schema'))[:20]}, this version reads {SCHEMA}"
        raise ArtifactError(f"Export '{folder}'", found, AGAIN)
    if wrong := _wrong(read):
        raise ArtifactError(f"Export '{folder}'", f"{DESCRIPTION} has no usable '{wrong}'", AGAIN)
    return read


def open_export(folder: Path, *, backend: str, fingerprint: str) -> Exported:
    """Return the export in a folder after its sums were checked.

    Raises ArtifactError for one that is missing, damaged, for another backend, or of another encoder.
    """
    read = read_description(folder)
    if read["backend"] != backend:
        raise ArtifactError(f"Export '{folder}' for {backend}", f"It is for {read['backend']}", AGAIN)
    if read["fingerprint"] != fingerprint:
        found = f"It gives vectors of {read['fingerprint'][:12]}…, this encoder those of {fingerprint[:12]}…"
        raise ArtifactError(f"Export '{folder}'", found, f"{AGAIN}, or the settings that it was exported with")
    for name in (*GRAPHS[backend], TOKENIZER):
        _check(folder / name, read["files"].get(name))
    return Exported(folder, backend, read["quantise"], fingerprint, read["parity"], read.get("speed") or {})


def _check(path: Path, wanted: str | None) -> None:
    if not path.is_file():
        raise ArtifactError(f"Export '{path.parent}'", f"It has no {path.name}", AGAIN)
    if path.is_symlink():
        raise ArtifactError(f"Export '{path.parent}'", f"{path.name} is a link", AGAIN)
    if path.name == TOKENIZER:
        plain_file(path)
    if (found := sha256(path)) != wanted:
        told = f"sha256 {found[:12]}… of {path.name} is not the {str(wanted)[:12]}… of {DESCRIPTION}"
        raise ArtifactError(f"Export '{path.parent}'", told, AGAIN)


def _wrong(read: Mapping[str, Any]) -> str:
    """Return the first key whose value cannot be; empty if all can."""
    if not isinstance(read.get("backend"), str) or read["backend"] not in GRAPHS:
        return "backend"
    if read.get("quantise") not in ("", INT8):
        return "quantise"
    if not isinstance(read.get("fingerprint"), str):
        return "fingerprint"
    if not _maps(read.get("files"), str):
        return "files"
    if not _maps(read.get("parity"), dict) or not all(_measured(each) for each in read["parity"].values()):
        return "parity"
    return _wrong_encoder(read.get("encoder"))


def _wrong_encoder(encoder: Any) -> str:
    if not isinstance(encoder, Mapping):
        return "encoder"
    whole = {name: encoder.get(name) for name in _WHOLE}
    wrong = [name for name, value in whole.items() if type(value) is not int or value < _WHOLE[name]]
    wrong += sorted(name for name in _WORDS if not isinstance(encoder.get(name), str))
    wrong += ["lower_case"] if not isinstance(encoder.get("lower_case"), bool) else []
    return f"encoder.{wrong[0]}" if wrong else ""


def _maps(value: Any, kind: type) -> bool:
    return isinstance(value, Mapping) and all(isinstance(each, kind) for each in value.values())


def _measured(figures: Mapping[str, Any]) -> bool:
    return all(isinstance(figures.get(name), int | float) for name in ("least", "mean", "texts"))
