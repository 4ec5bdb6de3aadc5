"""Exporting an encoder: trace its forward pass, convert it, hold it against the original, and only then keep it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mercat.artifacts.files import fsync
from mercat.encoders import runtimes
from mercat.encoders.backends import AUTO, Choice, export_device, installed, on_torch
from mercat.encoders.batching import Ids
from mercat.encoders.checkpoint import Checkpoint
from mercat.encoders.exported import DESCRIPTION, GRAPHS, SCHEMA, TOKENIZER, Exported, open_export
from mercat.encoders.padded import PaddedModel, pool
from mercat.encoders.parity import LEAST, parity
from mercat.encoders.speed import measured
from mercat.errors import ArtifactError, ConfigError, missing_extra
from mercat.pretrained.sums import sha256

if TYPE_CHECKING:
    from mercat.encoders.transformer import Transformer

_OPSET = 17
_NEEDS = {"onnx": {"onnx": "train", "onnxruntime": "serve"}, "openvino": {"onnx": "train", "openvino": "openvino"}}


def export(encoder: Transformer, rows: Sequence[Ids]) -> Exported:
    """Export the encoder for its own backend, and return what is now in its export folder.

    `rows` are the texts of `parity.TEXTS` as token ids. An export that was there is replaced once the new one has
    passed. Raises ConfigError if the backend is none to export for, MissingExtra, and ArtifactError for a model that
    cannot be traced or whose vectors came out too far from the original: nothing is kept then.
    """
    backend, checkpoint = encoder.backend, encoder.checkpoint
    if backend not in GRAPHS:
        raise ConfigError(f"An export of backend = '{backend}'", f"Known: {', '.join(GRAPHS)}", "backend = 'onnx'")
    for package, extra in _NEEDS[backend].items():
        if not installed(package):
            raise missing_extra(f"An export for {backend}", package, extra)
    original = PaddedModel(checkpoint, pooling=encoder.pooling, device="cpu", dtype="float32")
    target = encoder.export_folder
    making = target.with_name(f".{target.name}-{os.getpid()}-{os.urandom(4).hex()}")
    making.mkdir(parents=True)
    try:
        _trace(original, making / "traced.onnx", checkpoint.folder)
        _convert(making, backend, encoder.quantise)
        shutil.copyfile(checkpoint.folder / TOKENIZER, making / TOKENIZER)
        figures = _measure(encoder, making, original, rows)
        _require_near(encoder, figures)
        _describe(encoder, making, figures, _speed(encoder, making, rows))
        _replace(making, target)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return open_export(target, backend=backend, fingerprint=encoder.fingerprint)


def _trace(original: PaddedModel, path: Path, folder: Path) -> None:
    """Write the forward pass with pooling and scaling as one ONNX file.

    The exporter that traces is taken: the one on torch.export writes weights into a second file and takes a minute.
    """
    import torch

    ids = torch.ones(2, 7, dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0  # a mask that masks nothing would be traced as none
    axes = {name: {0: "texts", 1: "tokens"} for name in ("input_ids", "attention_mask")}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer's doubts none matters: the parity gate decides
            original.module.set_attn_implementation("eager")  # a fifth fewer nodes than torch's own, a twentieth faster
            torch.onnx.export(
                _whole(original),
                (ids, mask),
                str(path),
                input_names=list(axes),
                output_names=["vectors"],
                dynamic_axes={**axes, "vectors": {0: "texts"}},
                opset_version=_OPSET,
                dynamo=False,
            )
    except Exception as error:  # the exporter's own errors, those of the model's code, and of protobuf above 2 GB
        told = f"torch cannot export it: {' '.join(str(error).split())[:200]}"
        raise ArtifactError(f"Model folder '{folder}'", told, "backend = 'auto'") from error


def _whole(original: PaddedModel) -> Any:
    """Return a module from token ids and mask to unit vectors, in evaluation as all of its parts."""
    import torch

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = original.module

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.module(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            return torch.nn.functional.normalize(pool(hidden.float(), attention_mask, original.pooling), dim=1)

    return Whole().eval()  # the exporter puts the parts into the mode of the whole when it is done


def _convert(folder: Path, backend: str, quantise: str) -> None:
    """Turn the traced file into those of the backend."""
    traced = folder / "traced.onnx"
    if backend == "openvino":
        from mercat.encoders.openvino import convert

        convert(traced, folder)
        traced.unlink()
    elif quantise:
        _quantise(traced, folder / GRAPHS["onnx"][0])
    else:
        traced.rename(folder / GRAPHS["onnx"][0])


def _quantise(traced: Path, into: Path) -> None:
    """Write a graph with int8 weights, one scale per channel; what flows between them is scaled batch by batch.

    The range is reduced by one bit, so that the sums of older CPUs do not overflow either.
    """
    runtimes.onnxruntime()
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = traced.with_name("prepared.onnx")
    quiet = logging.NullHandler()
    logging.root.addHandler(quiet)  # without any handler the tool's first line would set up logging for the process
    try:
        quant_pre_process(str(traced), str(prepared), skip_symbolic_shape=True)
        quantize_dynamic(str(prepared), str(into), per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
    finally:
        logging.root.removeHandler(quiet)
    prepared.unlink()
    traced.unlink()


def _measure(
    encoder: Transformer, folder: Path, original: PaddedModel, rows: Sequence[Ids]
) -> dict[str, dict[str, float]]:
    """Return the figures of each number format that this CPU would run."""
    exported = _made(encoder, folder)
    dtypes = ("auto", "float32") if encoder.backend == "openvino" else ("auto",)
    devices = [export_device(encoder.backend, quantise=encoder.quantise, dtype=dtype) for dtype in dtypes]
    figures = {}
    for device in {device.dtype: device for device in devices}.values():
        body = Choice(encoder.backend, device, exported).body(encoder.checkpoint, pooling=encoder.pooling, lanes=1)
        figures[device.dtype] = parity(rows, original=original.vectors, other=body.vectors)
    return figures


def _made(encoder: Transformer, folder: Path) -> Exported:
    return Exported(folder, encoder.backend, encoder.quantise, encoder.fingerprint, {})


def _speed(encoder: Transformer, folder: Path, rows: Sequence[Ids]) -> dict[str, Any]:
    """Measure the export beside what `auto` would run with torch, both on all cores of this process."""
    device = export_device(encoder.backend, quantise=encoder.quantise)
    exported = Choice(encoder.backend, device, _made(encoder, folder))
    sides = [encoder.running(choice) for choice in (on_torch(AUTO, encoder.checkpoint), exported)]
    try:
        own, export = (side.run_rows for side in sides)
        return measured(own, export, rows, most=encoder.max_tokens, dtype=device.dtype, backend=encoder.backend)
    finally:
        for side in sides:
            side.close()


def _require_near(encoder: Transformer, figures: Mapping[str, Mapping[str, float]]) -> None:
    wanted = LEAST[encoder.quantise]
    for dtype, cosines in figures.items():
        if not cosines["least"] >= wanted:
            found = f"A text's cosine to the original is {cosines['least']:.4f} in {dtype}; at least {wanted} is needed"
            raise ArtifactError(f"The export of '{encoder.model}' for {encoder.backend}", found, "backend = 'auto'")


def _describe(encoder: Transformer, folder: Path, figures: Mapping[str, Any], speed: Mapping[str, Any]) -> None:
    from importlib.metadata import version

    checkpoint: Checkpoint = encoder.checkpoint
    packages = ("mercat", "torch", "transformers", *_NEEDS[encoder.backend])
    described = {
        "schema": SCHEMA,
        "backend": encoder.backend,
        "quantise": encoder.quantise,
        "fingerprint": encoder.fingerprint,
        "encoder": {
            "model": encoder.model,
            "model_type": str(checkpoint.config.get("model_type", "")),
            "weights_sha256": checkpoint.weights_sha256,
            "tokenizer_sha256": checkpoint.tokenizer_sha256,
            "dimensions": checkpoint.dimensions,
            "parameters": checkpoint.parameters,
            "vocab_size": int(checkpoint.config.get("vocab_size") or 0),
            "pad_id": checkpoint.pad_id,
            "pooling": encoder.pooling,
            "max_tokens": encoder.max_tokens,
            "lower_case": checkpoint.lower_case,
            "query_prefix": encoder.prefix("query"),
            "document_prefix": encoder.prefix("document"),
        },
        "files": {name: sha256(folder / name) for name in (*GRAPHS[encoder.backend], TOKENIZER)},
        "parity": figures,
        "speed": speed,
        "made_by": {package: version(package) for package in packages},
    }
    (folder / DESCRIPTION).write_text(json.dumps(described, indent=2), encoding="utf-8")


def _replace(making: Path, target: Path) -> None:
    """Put the finished folder in place of an older one."""
    for path in making.iterdir():
        fsync(path)
    fsync(making)
    if target.exists():
        old = making.with_name(f"{making.name}-old")
        target.rename(old)
        making.rename(target)
        shutil.rmtree(old)
    else:
        making.rename(target)
    fsync(target.parent)
