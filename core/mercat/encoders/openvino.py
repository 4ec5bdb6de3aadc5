"""The forward pass of an exported encoder by OpenVINO: no torch, bfloat16 where the CPU computes it natively."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mercat.encoders import runtimes
from mercat.encoders.base import Vectors
from mercat.encoders.batching import Ids, pad
from mercat.encoders.exported import Exported
from mercat.errors import ArtifactError, ConfigError

_HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoModel:
    """An exported encoder for inference on the CPU; `lanes` calls run at the same time, each on one core.

    Raises MissingExtra, ArtifactError for files that cannot run or have another width, and ConfigError for a number
    format that this CPU does not compute in.
    """

    def __init__(self, exported: Exported, *, pad_id: int, dimensions: int, dtype: str, lanes: int) -> None:
        self.pad_id = pad_id
        self._requests = threading.local()
        core = runtimes.openvino().Core()
        try:
            self._compiled = core.compile_model(str(exported.graph), "CPU", _settings(dtype, lanes))
            computes = str(self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
            found = self.vectors([[0]]).shape
        except Exception as error:  # the runtime raises RuntimeError, TypeError and its own
            told = f"OpenVINO cannot run it: {' '.join(str(error).split())[:200]}"
            raise ArtifactError(
                f"Export '{exported.folder}'", told, "mercat models export --backend openvino"
            ) from error
        if computes != _HINTS[dtype]:
            raise ConfigError(f"dtype = '{dtype}'", f"OpenVINO computes in {computes} on this CPU", "dtype = 'float32'")
        if found != (1, dimensions):
            told = f"It gives vectors of shape {found}, the encoder's have {dimensions} dimensions"
            raise ArtifactError(f"Export '{exported.folder}'", told, "mercat models export --backend openvino")

    def vectors(self, rows: Sequence[Ids]) -> Vectors:
        """Return one unit vector per row of token ids. The shape is (rows, dimensions)."""
        if not hasattr(self._requests, "own"):
            self._requests.own = self._compiled.create_infer_request()
        ids, mask = pad(rows, pad_id=self.pad_id)
        found: Vectors = self._requests.own.infer({"input_ids": ids, "attention_mask": mask})["vectors"]
        return found


def convert(onnx: Path, folder: Path) -> None:
    """Write an ONNX file as OpenVINO's `model.xml` and `model.bin`, all weights in float32."""
    openvino = runtimes.openvino()
    # not `convert_model`, and never half precision: that would round the weights before anybody asked for it
    openvino.save_model(openvino.Core().read_model(str(onnx)), str(folder / "model.xml"), compress_to_fp16=False)


def _settings(dtype: str, lanes: int) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": _HINTS[dtype],
        "INFERENCE_NUM_THREADS": lanes,
        "NUM_STREAMS": lanes,
        "ENABLE_CPU_PINNING": False,  # the cores that are free change; those of a container are not ours alone
    }
