"""Each text is encoded once: vectors remembered in memory and, if wanted, in a file."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np

from mercat.encoders.base import Encoder, EncoderInfo, Role, Vectors
from mercat.errors import ConfigError

_Key = bytes
_ENTRY_BYTES = 300  # what an entry costs beside its vector: key, array object, links; measured
_ASKED_AT_ONCE = 500  # SQLite's oldest limit on parameters is 999


class Cached:
    """An encoder that remembers what it encoded.

    Memory is bounded: the vectors used least recently go first. `memory_mb` is that of the encoder's `cache_mb` unless
    given, 0 remembers nothing between calls. With `file` vectors also survive the process. Safe between threads; two
    threads that ask for the same new text at the same moment may both compute it.
    """

    def __init__(self, encoder: Encoder, *, memory_mb: float | None = None, file: Path | str | None = None) -> None:
        self.encoder = encoder
        limit = getattr(encoder, "cache_mb", 64) if memory_mb is None else memory_mb
        self._limit = int(limit * 1_000_000)
        self._used = 0
        self._vectors: OrderedDict[_Key, Vectors] = OrderedDict()
        self._lock = threading.Lock()
        self._file = _VectorFile(Path(file)) if file is not None else None
        self.hits = self.misses = 0

    @property
    def fingerprint(self) -> str:
        return self.encoder.fingerprint

    @property
    def dimensions(self) -> int:
        return self.encoder.dimensions

    def warm_up(self) -> None:
        self.encoder.warm_up()

    def info(self) -> EncoderInfo:
        return self.encoder.info()

    def encode(self, texts: Sequence[str], *, role: Role = "document") -> Vectors:
        """Return shape (len(texts), dimensions); only texts not known yet reach the encoder, each of them once."""
        found = np.empty((len(texts), self.dimensions), dtype=np.float32)
        places: dict[_Key, list[int]] = {}
        for place, text in enumerate(texts):
            places.setdefault(self._key(text, role), []).append(place)
        known = self._recall(list(places))
        missing = [key for key in places if key not in known]
        if missing:
            fresh = self.encoder.encode([texts[places[key][0]] for key in missing], role=role)
            known |= dict(zip(missing, fresh, strict=True))
            self._remember(missing, fresh)
        for key, rows in places.items():
            found[rows] = known[key]
        return found

    def close(self) -> None:
        """Close the file and the encoder."""
        if self._file is not None:
            self._file.close()
        if callable(closing := getattr(self.encoder, "close", None)):
            closing()

    def _key(self, text: str, role: Role) -> _Key:
        name = f"{self.fingerprint}\0{role}\0{text}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(name, digest_size=16).digest()

    def _recall(self, keys: Sequence[_Key]) -> dict[_Key, Vectors]:
        known: dict[_Key, Vectors] = {}
        with self._lock:
            for key in keys:
                if (vector := self._vectors.get(key)) is not None:
                    self._vectors.move_to_end(key)
                    known[key] = vector
        if self._file is not None and len(known) < len(keys):
            stored = self._file.read([key for key in keys if key not in known], self.dimensions)
            self._keep(stored)
            known |= stored
        with self._lock:
            self.hits += len(known)
            self.misses += len(keys) - len(known)
        return known

    def _remember(self, keys: Sequence[_Key], vectors: Vectors) -> None:
        rows = {key: vector.copy() for key, vector in zip(keys, vectors, strict=True)}
        self._keep(rows)
        if self._file is not None:
            self._file.write(rows)

    def _keep(self, rows: dict[_Key, Vectors]) -> None:
        cost = self.dimensions * 4 + _ENTRY_BYTES
        with self._lock:
            for key, vector in rows.items():
                if key not in self._vectors:
                    self._vectors[key] = vector
                    self._used += cost
            while self._used > self._limit and self._vectors:
                self._vectors.popitem(last=False)
                self._used -= cost


def unwrap(encoder: Encoder) -> Encoder:
    """Return the encoder under any cache, and under what spreads its work."""
    from mercat.encoders.spread import Spread

    while isinstance(encoder, Cached | Spread):
        encoder = encoder.encoder
    return encoder


class _VectorFile:
    """Vectors in one SQLite file: a row is written whole or not at all, whatever kills the process."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._rows = sqlite3.connect(path, check_same_thread=False, timeout=30)
        try:
            self._rows.execute("pragma journal_mode = wal")
            self._rows.execute("pragma synchronous = normal")
            self._rows.execute("create table if not exists vectors (key blob primary key, vector blob) without rowid")
            self._rows.commit()
        except sqlite3.DatabaseError as error:
            self._rows.close()
            raise ConfigError(
                f"Cache file '{path}'", f"It is not a vector cache: {error}", "another file name"
            ) from error

    def read(self, keys: Sequence[_Key], dimensions: int) -> dict[_Key, Vectors]:
        found: dict[_Key, Vectors] = {}
        with self._lock:
            for at in range(0, len(keys), _ASKED_AT_ONCE):
                some = keys[at : at + _ASKED_AT_ONCE]
                marks = ",".join("?" * len(some))
                query = f"select key, vector from vectors where key in ({marks})"  # noqa: S608 (marks only)
                for key, vector in self._rows.execute(query, some):
                    if len(vector) == dimensions * 4:
                        found[key] = cast(Vectors, np.frombuffer(vector, dtype="<f4").astype(np.float32))
        return found

    def write(self, rows: dict[_Key, Vectors]) -> None:
        values = [(key, vector.astype("<f4").tobytes()) for key, vector in rows.items()]
        with self._lock, self._rows:
            self._rows.executemany("insert or replace into vectors values (?, ?)", values)

    def close(self) -> None:
        with self._lock:
            self._rows.close()
