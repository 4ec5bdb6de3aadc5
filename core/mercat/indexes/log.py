"""The write-ahead log of an index: what was written since its version, one record per save.

A record is a header and a payload, each with a checksum:

    header   b"MLG1", version of this format, length of the payload, sequence, rows alive after it,
             crc32 of the payload, crc32 of the header so far
    payload  changes: b"U" or b"D", number of ids, length of each id, the ids in UTF-8; for U their vectors in float32

A record counts when it is whole. One that was cut off by a kill or a power cut is left out and overwritten by the next
save; one that is whole and not what was written is an error, because a confirmed save may be in it.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mercat.indexes.base import Vectors

FILE = "log"
FORMAT = 1
_HEADER = struct.Struct("<4sIQqQI")
_SUM = struct.Struct("<I")
_SIZE = _HEADER.size + _SUM.size
_CHANGE = struct.Struct("<cI")
_MAGIC = b"MLG1"


class Torn(Exception):
    """The log is broken before its end; the text says how."""


@dataclass(frozen=True, slots=True)
class Change:
    """Rows that were put in, or, without vectors, taken out."""

    ids: Sequence[str]
    vectors: Vectors | None

    @property
    def size(self) -> int:
        """Bytes, about."""
        return sum(map(len, self.ids)) + 4 * len(self.ids) + (0 if self.vectors is None else self.vectors.nbytes)


@dataclass(frozen=True, slots=True)
class Mark:
    """The header of a record: where it lies and what the index was after it."""

    start: int
    end: int
    sequence: int
    rows: int
    sum: int


def packed(changes: Sequence[Change], *, sequence: int, rows: int) -> bytes:
    """Return a record; `rows` are those alive after it."""
    payload = b"".join(_packed_change(change) for change in changes)
    header = _HEADER.pack(_MAGIC, FORMAT, len(payload), sequence, rows, zlib.crc32(payload))
    return header + _SUM.pack(zlib.crc32(header)) + payload


def append(path: Path, record: bytes, *, at: int) -> int:
    """Write a record at byte `at`, cut off what was behind it, and return the new end. On the disk when it returns.

    Raises OSError; then what the file held up to `at` is still there, if the system says the truth.
    """
    with path.open("r+b" if path.exists() else "wb", buffering=0) as file:
        try:
            file.truncate(at)
            file.seek(at)
            _write_all(file.fileno(), record)
            os.fsync(file.fileno())
        except OSError:
            file.truncate(at)
            raise
    return at + len(record)


def marks(path: Path, *, after: int = 0) -> Iterator[Mark]:
    """Yield the headers of whole records, in order. Raises Torn."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = after
        while start + _SIZE <= size:
            file.seek(start)
            head = file.read(_SIZE)
            if len(head) < _SIZE or not head.strip(b"\0"):
                return  # room that a file system gave before a power cut
            (sum_,) = _SUM.unpack_from(head, _HEADER.size)
            if zlib.crc32(head[: _HEADER.size]) != sum_:
                raise Torn(f"the header of the record at byte {start} is not what was written")
            magic, version, length, sequence, rows, payload_sum = _HEADER.unpack_from(head)
            if magic != _MAGIC or version != FORMAT:
                raise Torn(f"the record at byte {start} is of format {version}, this version reads {FORMAT}")
            end = start + _SIZE + length
            if end > size:
                return
            yield Mark(start, end, sequence, rows, payload_sum)
            start = end


def read(path: Path, dimensions: int) -> Iterator[tuple[Mark, list[Change]]]:
    """Yield each whole record with its changes, in order. Raises Torn."""
    with path.open("rb") as file:
        for mark in marks(path):
            file.seek(mark.start + _SIZE)
            payload = file.read(mark.end - mark.start - _SIZE)
            if zlib.crc32(payload) != mark.sum:
                raise Torn(f"the record at byte {mark.start} is not what was written")
            yield mark, list(_changes(payload, dimensions))


def _packed_change(change: Change) -> bytes:
    keys = [key.encode("utf-8", "surrogatepass") for key in change.ids]
    lengths = np.array([len(key) for key in keys], dtype="<u4").tobytes()
    head = _CHANGE.pack(b"D" if change.vectors is None else b"U", len(keys))
    vectors = b"" if change.vectors is None else np.ascontiguousarray(change.vectors, dtype="<f4").tobytes()
    return b"".join([head, lengths, *keys, vectors])


def _changes(payload: bytes, dimensions: int) -> Iterator[Change]:
    place = 0
    while place < len(payload):
        kind, number = _CHANGE.unpack_from(payload, place)
        place += _CHANGE.size
        lengths = np.frombuffer(payload, dtype="<u4", count=number, offset=place).tolist()
        place += 4 * number
        ids = []
        for length in lengths:
            ids.append(payload[place : place + length].decode("utf-8", "surrogatepass"))
            place += length
        vectors = None
        if kind == b"U":
            vectors = np.frombuffer(payload, dtype="<f4", count=number * dimensions, offset=place)
            vectors = vectors.reshape(number, dimensions)
            place += 4 * number * dimensions
        yield Change(ids, vectors)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
