"""Reading an answer line by line as it arrives, bounded in size, in silence and in all."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from mercat.connect.response import RequestFailed

Within = Callable[[float], AbstractContextManager[None]]


def timed_chunks(
    chunks: Iterator[bytes], *, within: Within, pause_s: float, left_s: Callable[[], float]
) -> Iterator[bytes]:
    """Yield chunks, each waited for at most `pause_s` seconds, and all together no longer than `left_s` says."""
    while True:
        with within(min(pause_s, left_s())):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


def lines_of(chunks: Iterator[bytes], *, max_bytes: int, shown: str) -> Iterator[str]:
    """Yield the lines of UTF-8 chunks, without their ends (LF, CR LF or CR); the last one may lack its end.

    Raises RequestFailed for more than `max_bytes` in all. Bytes that are no UTF-8 become U+FFFD.
    """
    decoder, held, size = codecs.getincrementaldecoder("utf-8")(errors="replace"), "", 0
    for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            found = f"It is larger than {max_bytes:,} bytes"
            raise RequestFailed(f"The answer of {shown} was read", found, "a larger max_bytes", maybe_done=True)
        held += decoder.decode(chunk)
        *whole, held = _split(held)
        yield from whole
    held += decoder.decode(b"", final=True)
    *whole, held = _split(held.removesuffix("\r") + ("\n" if held.endswith("\r") else ""))
    yield from whole
    if held:
        yield held


def _split(text: str) -> list[str]:
    """Cut at line ends; a CR at the very end waits, because a LF may follow."""
    waiting = "\r" if text.endswith("\r") else ""
    whole = text.removesuffix("\r") if waiting else text
    parts = whole.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    parts[-1] += waiting
    return parts
