"""The forward pass of an exported encoder by ONNX Runtime: no torch, no transformers."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Any

from mercat.encoders import runtimes
from mercat.encoders.base import Vectors
from mercat.encoders.batching import Ids, pad
from mercat.encoders.exported import Exported
from mercat.errors import ArtifactError, MercatError


class OnnxModel:
    """An exported encoder for inference on the CPU; each call computes in the thread that makes it.

    Raises MissingExtra, and ArtifactError for a graph that refers to other files, cannot run, or has another width.
    """

    def __init__(self, exported: Exported, *, pad_id: int, dimensions: int) -> None:
        self.pad_id = pad_id
        _require_one_file(exported)
        try:
            self._session: Any = _session(exported)
            found = self.vectors([[0]]).shape
        except MercatError:
            raise
        except Exception as error:  # the runtime has a type of its own for each cause
            told = f"ONNX Runtime cannot run it: {' '.join(str(error).split())[:200]}"
            raise ArtifactError(f"Export '{exported.folder}'", told, "mercat models export") from error
        if found != (1, dimensions):
            told = f"It gives vectors of shape {found}, the encoder's have {dimensions} dimensions"
            raise ArtifactError(f"Export '{exported.folder}'", told, "mercat models export")

    def vectors(self, rows: Sequence[Ids]) -> Vectors:
        """Return one unit vector per row of token ids. The shape is (rows, dimensions)."""
        ids, mask = pad(rows, pad_id=self.pad_id)
        found: Vectors = self._session.run(["vectors"], {"input_ids": ids, "attention_mask": mask})[0]
        return found


def _session(exported: Exported) -> Any:
    onnxruntime = runtimes.onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the encoder runs one batch on each core
    options.log_severity_level = 4  # what goes wrong is raised
    return onnxruntime.InferenceSession(str(exported.graph), options, providers=["CPUExecutionProvider"])


def _require_one_file(exported: Exported) -> None:
    """Raise ArtifactError for a graph that refers to a file outside of it: every such reference has a "location"."""
    if not exported.graph.stat().st_size:
        raise ArtifactError(f"Export '{exported.folder}'", "Its graph is empty", "mercat models export")
    with exported.graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"location") >= 0:
            found = f"{exported.graph.name} refers to data outside of it"
            raise ArtifactError(f"Export '{exported.folder}'", found, "mercat models export")
