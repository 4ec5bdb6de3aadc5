"""Which forward pass an encoder runs on: chosen once, before any weights load, and said aloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, get_args

from mercat.compute.device import Device, choose_device
from mercat.encoders.base import Vectors
from mercat.encoders.batching import Ids
from mercat.encoders.checkpoint import Checkpoint
from mercat.encoders.exported import AGAIN, GRAPHS, INT8, Exported, is_export, open_export, read_description
from mercat.encoders.speed import WORTH, speed_of
from mercat.errors import ArtifactError, ConfigError, MissingExtra, missing_extra

Backend = Literal["auto", "packed", "torch", "onnx", "openvino"]
BACKENDS = get_args(Backend)
_RUNTIMES = {"onnx": ("onnxruntime", "serve"), "openvino": ("openvino", "openvino")}  # package, extra


class Body(Protocol):
    """The part that holds the weights: rows of token ids in, unit vectors out."""

    def vectors(self, rows: Sequence[Ids]) -> Vectors:
        """Return one unit vector per row of token ids: shape (rows, dimensions)."""
        ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What the settings of an encoder ask for. Raises ConfigError for what no encoder can be."""

    backend: str
    quantise: str
    device: str
    dtype: str

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ConfigError(f"backend = '{self.backend}'", f"Known: {', '.join(BACKENDS)}", "backend = 'auto'")
        if self.quantise not in ("", INT8):
            raise ConfigError(f"quantise = '{self.quantise}'", f"Known: {INT8}, or empty", f"quantise = '{INT8}'")
        if self.quantise and self.backend != "onnx":
            raise ConfigError(
                f"quantise = '{self.quantise}'", f"It is for onnx; backend = '{self.backend}'", "backend = 'onnx'"
            )


AUTO = Wish("auto", "", "cpu", "auto")
"""What an export is held against: torch on the CPU, in its own number format."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What an encoder runs on. `device.why` tells people what was chosen and why."""

    backend: str
    device: Device
    exported: Exported | None = None

    def body(self, checkpoint: Checkpoint, *, pooling: str, lanes: int) -> Body:
        """Load the weights. `lanes` is how many threads will ask at the same time."""
        pad_id, dimensions = checkpoint.pad_id, checkpoint.dimensions
        if self.exported is not None and self.backend == "onnx":
            from mercat.encoders.onnx import OnnxModel

            return OnnxModel(self.exported, pad_id=pad_id, dimensions=dimensions)
        if self.exported is not None:
            from mercat.encoders.openvino import OpenVinoModel

            return OpenVinoModel(
                self.exported, pad_id=pad_id, dimensions=dimensions, dtype=self.device.dtype, lanes=lanes
            )
        if self.backend == "packed":
            from mercat.encoders.packed import PackedBert

            return PackedBert(checkpoint, pooling=pooling, dtype=self.device.dtype)
        from mercat.encoders.padded import PaddedModel

        return PaddedModel(checkpoint, pooling=pooling, device=self.device.name, dtype=self.device.dtype)


def choose(wish: Wish, checkpoint: Checkpoint, *, fingerprint: str, folders: dict[str, Path]) -> Choice:
    """Choose the forward pass. `folders` says where the export for each backend would lie.

    "auto" takes torch, on the CPU an export that was measured here as the quicker one, and where torch is not installed
    an ONNX export. Raises ConfigError for what cannot be had together, MissingExtra, ArtifactError for an export that
    is missing, damaged or another's.
    """
    if checkpoint.exported:
        if wish.backend not in ("auto", checkpoint.exported):
            found = f"'{checkpoint.folder}' is an export for {checkpoint.exported}, without the weights"
            raise ConfigError(f"backend = '{wish.backend}'", found, "backend = 'auto'")
        return _on_export(wish, checkpoint.exported, checkpoint.folder, fingerprint, "the model's folder is an export")
    if wish.backend in GRAPHS:
        return _on_export(wish, wish.backend, folders[wish.backend], fingerprint, "as asked")
    if not installed("torch"):
        if wish.backend != "auto" or wish.device not in ("auto", "cpu") or not is_export(folders["onnx"]):
            raise _no_torch(checkpoint, folders["onnx"])
        return _on_export(wish, "onnx", folders["onnx"], fingerprint, "torch is not installed, an export is there")
    return _quickest(wish, on_torch(wish, checkpoint), fingerprint, folders)


def installed(module: str) -> bool:
    """Return whether a module could be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def export_device(backend: str, *, quantise: str, device: str = "auto", dtype: str = "auto") -> Device:
    """Return what an export computes on. Raises ConfigError for what it cannot: exports run on the CPU."""
    if device not in ("auto", "cpu"):
        raise ConfigError(f"device = '{device}'", f"The backend {backend} is for the CPU", "device = 'cpu'")
    if backend == "onnx":
        if dtype not in ("auto", "float32"):
            raise ConfigError(f"dtype = '{dtype}'", "The backend onnx computes in float32", "dtype = 'auto'")
        return Device("cpu", quantise or "float32", "")
    if dtype not in ("auto", "float32", "bfloat16"):
        raise ConfigError(f"dtype = '{dtype}'", f"The backend {backend} has float32 and bfloat16", "dtype = 'auto'")
    return choose_device("cpu", dtype=dtype)


def _on_export(wish: Wish, backend: str, folder: Path, fingerprint: str, why: str) -> Choice:
    exported = open_export(folder, backend=backend, fingerprint=fingerprint)
    device = export_device(backend, quantise=exported.quantise, device=wish.device, dtype=wish.dtype)
    package, extra = _RUNTIMES[backend]
    if not installed(package):
        raise missing_extra(f"backend = '{backend}'", package, extra)
    note = f"{backend}: {why}; {exported.nearness(device.dtype)}"
    return Choice(backend, Device(device.name, device.dtype, note), exported)


def _quickest(wish: Wish, own: Choice, fingerprint: str, folders: Mapping[str, Path]) -> Choice:
    """Return torch's choice, or an export if "auto" may take one and its measured speed is worth it; say why."""
    if (wish.backend, wish.dtype, own.device.name) != ("auto", "auto", "cpu"):
        return own
    there = [_weighed(wish, backend, folder, fingerprint) for backend, folder in folders.items() if is_export(folder)]
    best = max(there, key=lambda each: each.times, default=None)
    if best is not None and best.choice is not None:
        return best.choice
    why = "; ".join([own.device.why, *(each.why for each in there)])
    return replace(own, device=replace(own.device, why=why))


@dataclass(frozen=True, slots=True)
class _Weighed:
    """An export that is there: how many times as quick as torch it is, and why it is no choice if it is none."""

    times: float
    choice: Choice | None = None
    why: str = ""


def _weighed(wish: Wish, backend: str, folder: Path, fingerprint: str) -> _Weighed:
    try:
        device, kept = export_device(backend, quantise=""), read_description(folder).get("speed")
        speed = speed_of(kept, backend=backend, dtype=device.dtype)
        if speed is None or not speed.here:
            return _Weighed(0.0, why=f"an export for {backend} is there, not measured on this machine: {AGAIN}")
        if speed.times < WORTH:
            return _Weighed(0.0, why=f"the export for {backend} is not worth it, {speed}")
        return _Weighed(speed.times, _on_export(wish, backend, folder, fingerprint, f"the quicker one here, {speed}"))
    except (ArtifactError, MissingExtra) as error:  # nobody asked for it by name
        return _Weighed(0.0, why=f"the export for {backend} cannot be used: {error.found}")


def on_torch(wish: Wish, checkpoint: Checkpoint) -> Choice:
    """Return the forward pass that torch computes: packed where it fits. Raises ConfigError if it was asked to be."""
    from mercat.encoders.packed import can_pack

    device = choose_device(wish.device, dtype=wish.dtype)
    fits = device.name == "cpu" and can_pack(checkpoint.config)
    if wish.backend == "packed" and not fits:
        found = f"It is for BERT on the CPU; this is {checkpoint.config.get('model_type')} on {device.name}"
        raise ConfigError("backend = 'packed'", found, "backend = 'auto'")
    backend = "packed" if fits and wish.backend != "torch" else "torch"
    return Choice(backend, Device(device.name, device.dtype, f"{backend} forward pass; {device.why}"))


def _no_torch(checkpoint: Checkpoint, folder: Path) -> MissingExtra:
    return MissingExtra(
        f"The model in '{checkpoint.folder}' needs the package 'torch'",
        f"It is not installed, and there is no export in '{folder}'",
        'pip install "mercat[train]", or take an export made elsewhere by: mercat models export',
    )
