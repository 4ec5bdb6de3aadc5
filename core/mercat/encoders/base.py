"""What an encoder is: texts in, unit vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Role = Literal["query", "document"]


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """What an encoder really runs as; shown by `mercat models` and kept in artifacts."""

    model: str
    backend: str  # "torch", "onnx", "openvino", "numpy"
    device: str  # "cpu", "cuda:0"
    dtype: str  # "float32", "bfloat16"
    dimensions: int
    max_tokens: int  # 0: no limit
    parameters: int
    fingerprint: str
    note: str = ""  # what `auto` chose and why


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors of one space.

    The constructor is cheap; weights load on the first call of `encode` or `warm_up`. `fingerprint` names the space:
    equal fingerprints mean vectors may be compared. It is known without loading the weights.
    """

    @property
    def fingerprint(self) -> str:
        """What names the space of the vectors: equal fingerprints, comparable vectors."""
        ...

    @property
    def dimensions(self) -> int:
        """The width of the vectors."""
        ...

    def encode(self, texts: Sequence[str], *, role: Role = "document") -> Vectors:
        """Return shape (len(texts), dimensions), float32, each row of Euclidean length 1."""
        ...

    def warm_up(self) -> None:
        """Load the weights now."""
        ...

    def info(self) -> EncoderInfo:
        """Return what it really runs as: model, backend, device, type."""
        ...
