"""The lines of a file with their byte offsets, so that reading can go on where it stopped."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from mercat.errors import DataError
from mercat_connectors.files.encodings import check_encoding, is_wide
from mercat_connectors.files.rows import Rejected

MAX_LINE_BYTES = 8_000_000
_SAMPLE_BYTES = 262_144
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Position:
    """How far a file was read: bytes (unpacked), rows, and the SHA-256 of those bytes.

    `start` is where the last row began when the file ended without a line end: that row may still grow.
    """

    offset: int = 0
    row: int = 0
    sha256: str = ""
    start: int = -1


class Lines(Iterator[str]):
    """Iterates over decoded lines; `offset` is the first byte after the line last given.

    Bytes that do not fit the encoding come out as lone surrogates. Errors: Rejected for a line that is too large (the
    iteration can go on after it), DataError for a file that cannot be read.
    """

    def __init__(self, path: Path, *, encoding: str) -> None:
        self.path, self._given, self._encoding = path, encoding, encoding
        self._raw = _open(path, encoding)
        if is_wide(encoding):
            self._encoding = "utf-8"
        self._hash = hashlib.sha256()
        self.offset = 0
        self.terminated = True

    def go_to(self, position: Position) -> bool:
        """Go to where reading stopped; False when the file is another one now."""
        left = position.offset
        row_start = self._hash.copy()
        while left:
            limit = position.start - self.offset if self.offset < position.start else left
            block = self._read(min(left, limit, _BLOCK))
            if not block:
                return False
            self._hash.update(block)
            self.offset += len(block)
            left -= len(block)
            if self.offset == position.start:
                row_start = self._hash.copy()
        if self._hash.hexdigest() != position.sha256:
            return False
        following = self._raw.peek(1)[:1]  # type: ignore[attr-defined]
        if position.start >= 0 and following and following not in b"\r\n":  # the last row grew
            self._raw.close()
            self._raw = _open(self.path, self._given)
            self._read_fully(position.start)
            self._hash, self.offset = row_start, position.start
        return True

    def sha256(self) -> str:
        return self._hash.hexdigest()

    def __next__(self) -> str:
        line = self._take()
        if not line:
            raise StopIteration
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = self._take()
            raise Rejected("row too large", f"a line of more than {MAX_LINE_BYTES:,} bytes")
        self.terminated = line.endswith(b"\n")
        at_start = self.offset == len(line)
        text = line.decode(self._encoding, errors="surrogateescape")
        return text.removeprefix("\ufeff") if at_start else text

    def close(self) -> None:
        self._raw.close()

    def _take(self) -> bytes:
        try:
            line = self._raw.readline(MAX_LINE_BYTES + 1)
        except (OSError, EOFError, zlib.error, UnicodeError) as error:
            raise _unreadable(self.path, error) from None
        self._hash.update(line)
        self.offset += len(line)
        return line

    def _read_fully(self, size: int) -> None:
        while size and (block := self._read(min(size, _BLOCK))):
            size -= len(block)

    def _read(self, size: int) -> bytes:
        try:
            return self._raw.read(size)
        except (OSError, EOFError, zlib.error, UnicodeError) as error:
            raise _unreadable(self.path, error) from None


def damaged(text: str) -> bool:
    """Tell whether a text holds bytes that did not fit the encoding, or a NUL, which databases refuse."""
    return (not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)) or "\0" in text


def _open(path: Path, encoding: str) -> IO[bytes]:
    try:
        with _unpacked(path) as raw:
            sample = raw.read(_SAMPLE_BYTES)
        check_encoding(sample, encoding, file=path.name)
        raw = _unpacked(path)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from None
    return io.BufferedReader(cast(Any, _Recoded(raw, encoding))) if is_wide(encoding) else raw


def _unpacked(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


class _Recoded(io.RawIOBase):
    """UTF-16 and UTF-32 as UTF-8, because a line end in them cannot be found in bytes."""

    def __init__(self, raw: IO[bytes], encoding: str) -> None:
        self._raw = raw
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            block = self._raw.read(_BLOCK)
            self._ready = self._decoder.decode(block, final=not block).encode("utf-8")
            if not block:
                break
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"File '{path}' was opened", "It is not there", "check path and the folder you are in")
    why = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
    return DataError(f"File '{path}' was read", f"It cannot be read ({why})", "check the file")
