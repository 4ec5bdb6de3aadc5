"""Reading an answer's body with a limit that counts after unpacking, so that a small zip bomb stays small."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from mercat.connect.response import RequestFailed

_PACKED = {"gzip", "x-gzip", "deflate"}
_GZIP_OR_ZLIB = 47  # window bits of zlib: 15, and 32 to detect the header


def read_body(chunks: Iterable[bytes], *, encoding: str, max_bytes: int, shown: str) -> bytes:
    """Join the chunks, unpacked by `Content-Encoding`. Errors: RequestFailed when too large or packed unreadably."""
    name = encoding.strip().lower()
    if name not in _PACKED and name not in ("", "identity"):
        raise _unreadable(shown, f"It is packed as '{encoding}'", "a server that sends gzip or nothing")
    unpack = _Unpacker(max_bytes) if name in _PACKED else None
    body = bytearray()
    for chunk in chunks:
        body += unpack.feed(chunk, shown=shown) if unpack else chunk
        if len(body) > max_bytes:
            raise _unreadable(shown, f"It is larger than {max_bytes:,} bytes", "a larger max_bytes")
    if unpack and not unpack.finished:
        raise _unreadable(shown, "The packed content is cut off", "the same request again")
    return bytes(body)


class _Unpacker:
    """Unpacks at most `max_bytes + 1` in all: one more than allowed is enough to know."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes + 1
        self._inner = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._fed = False

    @property
    def finished(self) -> bool:
        return self._inner.eof or not self._fed

    def feed(self, chunk: bytes, *, shown: str) -> bytes:
        out = bytearray()
        while chunk and self._left > 0:
            self._fed = True
            if self._inner.eof:  # a gzip file may have several members
                self._inner = zlib.decompressobj(_GZIP_OR_ZLIB)
            try:
                piece = self._inner.decompress(chunk, self._left)
            except zlib.error:
                raise _unreadable(shown, "Its content cannot be unpacked", "the same request later") from None
            self._left -= len(piece)
            out += piece
            chunk = self._inner.unused_data if self._inner.eof else self._inner.unconsumed_tail
        return bytes(out)


def _unreadable(shown: str, found: str, cure: str) -> RequestFailed:
    # an answer came, so what was asked for was probably done
    return RequestFailed(f"The answer of {shown} was read", found, cure, maybe_done=True)
