"""The header of a safetensors file, read strictly before any library maps the file.

The format (https://github.com/huggingface/safetensors): eight bytes of length, so much JSON, then the tensors' bytes
one after the other without gaps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mercat.errors import ArtifactError

LARGEST_HEADER = 100_000_000  # bytes, as the format says
_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}
_CURE = "fetch the model again, from whoever published it"


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    @property
    def is_floating(self) -> bool:
        """Whether these are weights; integers are buffers."""
        return self.dtype.startswith(("F", "BF"))


def read_header(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name. Raises ArtifactError for a file that is not what the format says."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = int.from_bytes(start, "little")
            if len(start) < 8 or not 2 <= length <= min(LARGEST_HEADER, size - 8):
                raise ValueError(f"a header of {length} bytes in a file of {size}")
            header = json.loads(file.read(length), object_pairs_hook=_once)
        return _checked(header, size - 8 - length)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        found = f"Its safetensors header is broken: {error}"
        raise ArtifactError(f"Weights '{path}'", found, _CURE) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _checked(header: Any, room: int) -> dict[str, Tensor]:
    if not isinstance(header, dict):
        raise ValueError("it is no object")
    header.pop("__metadata__", None)
    found, ends = {}, []
    for name, entry in header.items():
        tensor, begin, end = _tensor(entry)
        if end - begin != tensor.size * _BYTES[tensor.dtype]:
            raise ValueError(f"'{name}' has {end - begin} bytes for shape {list(tensor.shape)}")
        found[name] = tensor
        ends.append((begin, end))
    last = 0
    for begin, end in sorted(ends):
        if begin != last:
            raise ValueError("tensors overlap or leave gaps")
        last = end
    if last != room:
        raise ValueError(f"{room} bytes follow it, its tensors have {last}")
    return found


def _tensor(entry: Mapping[str, Any]) -> tuple[Tensor, int, int]:
    dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    numbers = [*shape, begin, end]
    if dtype not in _BYTES:
        raise ValueError(f"the number format {str(dtype)[:20]!r} is not known")
    if not all(type(number) is int and 0 <= number < 2**62 for number in numbers):
        raise ValueError("a size is no whole number, or negative")
    return Tensor(dtype, tuple(shape)), begin, end
