"""`files/outbox`: a sink that appends messages to a JSON Lines file, for demonstrations and for pick-up by others."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from mercat.connect.base import Message, Receipt
from mercat.errors import ConnectError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no such lock; one process is then the limit
    fcntl = None  # type: ignore[assignment]


class Outbox:
    """Appends each message as one line `{key, kind, at, payload}`, on disk (fsync) before the receipt.

    The same key is written once, whatever process wrote it. A line torn by a crash is cut off before the next one.
    `external_id` of the receipt is the number of the line. Errors: ConnectError when the file cannot be written.
    """

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.path, self._clock = path, clock
        self._lock = threading.Lock()
        self._read_to = 0
        self._numbers: dict[str, int] = {}

    def send(self, message: Message) -> Receipt:
        """Append the message unless its key is there already. Raises ConnectError when the file cannot be written."""
        try:
            with self._lock:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a+b") as file:
                    if fcntl:
                        fcntl.flock(file, fcntl.LOCK_EX)
                    self._catch_up(file.fileno())
                    if message.key not in self._numbers:
                        self._append(file.fileno(), message)
        except OSError as error:
            raise ConnectError(
                f"File '{self.path}' was written", error.strerror or str(error), "check path and free space"
            ) from None
        return Receipt(str(self._numbers[message.key]), self.path.absolute().as_uri())

    def _append(self, descriptor: int, message: Message) -> None:
        at = self._clock().isoformat()
        line = {"key": message.key, "kind": message.kind, "at": at, "payload": dict(message.payload)}
        data = json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
        self._read_to += len(data)
        self._numbers[message.key] = len(self._numbers) + 1

    def _catch_up(self, descriptor: int) -> None:
        """Learn the keys that others appended, and cut off a torn last line."""
        size = os.fstat(descriptor).st_size
        if size < self._read_to:  # somebody emptied the file
            self._read_to, self._numbers = 0, {}
        with self.path.open("rb") as file:
            file.seek(self._read_to)
            for line in file:
                if not line.endswith(b"\n"):
                    os.ftruncate(descriptor, self._read_to)
                    return
                self._read_to += len(line)
                self._numbers.setdefault(_key(line), len(self._numbers) + 1)


def _key(line: bytes) -> str:
    try:
        return str(json.loads(line)["key"])
    except (ValueError, KeyError, TypeError):
        return line.decode(errors="replace")  # not ours: it counts as a line and matches no key
