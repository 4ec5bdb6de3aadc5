"""An encoder that runs elsewhere: an OpenAI-compatible endpoint, or text-embeddings-inference (TEI)."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np

from mercat.connect import Bearer, Client
from mercat.encoders.base import EncoderInfo, Role, Vectors
from mercat.encoders.texts import readable
from mercat.errors import ConfigError, ConnectError

_PROBE = "dimensions"
_LARGEST = 1e150  # squares of larger values have no sum


class Remote:
    """Asks a server for vectors and scales them to length 1; texts leave this machine.

    `url` is the address before `/embeddings` ("https://api.example/v1") with `api = "openai"`, before `/embed` with
    `api = "tei"`. Addresses inside private networks are refused unless `allow` names their host. The server is asked
    for `dimensions` with one text unless they are given; with "openai" a given number is also sent, for models that can
    shorten their vectors. Texts are cut after `max_chars` characters; `batch_rows` of them go in one request.

    The fingerprint is made of address, model, dimensions, prefixes and cut: a server that changes the model behind its
    name is not noticed. Errors of every call: ConnectError when the server does not answer as it should (RequestFailed
    for a status, AddressRefused for its address). Raises ConfigError for values out of range.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str,
        api: Literal["openai", "tei"] = "openai",
        api_key: str = "",
        allow: Sequence[str] = (),
        dimensions: int | None = None,
        batch_rows: int = 32,
        max_chars: int = 8_000,
        query_prefix: str = "",
        document_prefix: str = "",
        timeout_s: float = 60.0,
        retries: int = 3,
        max_bytes: int = 64_000_000,
        cache_mb: int = 64,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if api not in ("openai", "tei"):
            raise ConfigError(f"api = '{api}'", "Known: openai, tei", "api = 'openai'")
        for name, value in (("dimensions", dimensions), ("batch_rows", batch_rows), ("max_chars", max_chars)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} = {value}", "It is a number from 1", "mercat config")
        if not url or not model:
            raise ConfigError("A remote encoder needs url and model", f"url '{url}', model '{model}'", "mercat config")
        self.url, self.model, self.api, self.cache_mb = url.rstrip("/"), model, api, cache_mb
        self._asked_dimensions, self._batch_rows, self._max_chars = dimensions, batch_rows, max_chars
        self._prefixes = {"query": query_prefix, "document": document_prefix}
        self._lock = threading.Lock()
        self._found_dimensions = 0
        self._client = Client(
            allow=allow,
            timeout_s=timeout_s,
            retries=retries,
            max_bytes=max_bytes,
            auth=Bearer(api_key) if api_key else None,
            sleep=sleep,
        )

    def __repr__(self) -> str:
        return f"Remote('{self.url}', model='{self.model}', api='{self.api}')"

    @property
    def fingerprint(self) -> str:
        """The name of the vector space, as far as it can be known from here; asks for the dimensions if need be."""
        parts = ["remote/1", self.url, self.model, self.api, self.dimensions, self._max_chars, self._prefixes]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def dimensions(self) -> int:
        """The width of the vectors; the server is asked once, unless it was given."""
        if self._asked_dimensions:
            return self._asked_dimensions
        with self._lock:
            if not self._found_dimensions:
                self._found_dimensions = self._ask([_PROBE]).shape[1]
            return self._found_dimensions

    def warm_up(self) -> None:
        """Ask the server for one vector, so that what is wrong shows now."""
        self.encode([_PROBE])

    def encode(self, texts: Sequence[str], *, role: Role = "document") -> Vectors:
        """Return shape (len(texts), dimensions), float32, rows of length 1. Raises ConnectError for other vectors."""
        found = np.empty((len(texts), self.dimensions), dtype=np.float32)
        prefix = self._prefixes[role]
        for start in range(0, len(texts), self._batch_rows):
            # servers refuse an empty text
            batch = [
                readable(prefix + text, self._max_chars) or " " for text in texts[start : start + self._batch_rows]
            ]
            vectors = self._ask(batch)
            if vectors.shape[1] != self.dimensions:
                raise self._wrong(
                    f"Vectors of {vectors.shape[1]} dimensions, not {self.dimensions}",
                    f"dimensions = {vectors.shape[1]}",
                )
            found[start : start + len(batch)] = vectors
        return found

    def info(self) -> EncoderInfo:
        """Say what is asked, and where; the device is the server's name."""
        return EncoderInfo(
            model=self.model,
            backend=f"remote ({self.api})",
            device=urlsplit(self.url).netloc,
            dtype="float32",
            dimensions=self.dimensions,
            max_tokens=0,
            parameters=0,
            fingerprint=self.fingerprint,
            note="texts leave this machine",
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, texts: list[str]) -> Vectors:
        """Return one unit vector per text: shape (texts, dimensions)."""
        if self.api == "tei":
            path, body = "/embed", {"inputs": texts, "truncate": True}
        else:
            path, body = "/embeddings", {"model": self.model, "input": texts, "encoding_format": "float"}
            if self._asked_dimensions:
                body["dimensions"] = self._asked_dimensions
        # asking twice gives the same vectors, so a request may be sent again
        key = hashlib.sha256(json.dumps(body).encode()).hexdigest()
        answer = self._client.post(self.url + path, json=body, headers={"idempotency-key": key}).json()
        return self._unit(answer if self.api == "tei" else self._in_order(answer, len(texts)), len(texts))

    def _in_order(self, answer: Any, wanted: int) -> list[Any]:
        """Return the vectors of an OpenAI answer by their `index`, which need not be the order they stand in."""
        rows = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._wrong("An answer without a list 'data'", f"a server of the {self.api} API")
        numbers = [row.get("index") for row in rows]
        if len(rows) != wanted or not all(type(number) is int for number in numbers):
            raise self._wrong(f"{len(rows)} vectors for {wanted} texts", f"a server of the {self.api} API")
        if sorted(numbers) != list(range(wanted)):
            raise self._wrong(f"{wanted} vectors with the indexes {numbers[:10]}", f"a server of the {self.api} API")
        return [row.get("embedding") for row in sorted(rows, key=lambda row: int(row["index"]))]

    def _unit(self, rows: Any, wanted: int) -> Vectors:
        """Return checked vectors of length 1: shape (wanted, dimensions)."""
        if not isinstance(rows, list) or len(rows) != wanted:
            found = f"{len(rows)} vectors for {wanted} texts" if isinstance(rows, list) else "An answer without a list"
            raise self._wrong(found, f"a server of the {self.api} API")
        width = len(rows[0]) if isinstance(rows[0], list) else 0
        if not width or not all(isinstance(row, list) and len(row) == width for row in rows):
            raise self._wrong("Vectors that are no lists of one length", f"a server of the {self.api} API")
        if not all(type(value) in (int, float) and -_LARGEST < value < _LARGEST for row in rows for value in row):
            raise self._wrong("Vectors with values that are not finite numbers", "the log of that server")
        exact = np.array(rows, dtype=np.float64)
        lengths = np.linalg.norm(exact, axis=1, keepdims=True)
        if not np.all(lengths > 1e-150):
            raise self._wrong("A vector of length 0", "the log of that server")
        unit: Vectors = (exact / lengths).astype(np.float32)
        return unit

    def _wrong(self, found: str, next: str) -> ConnectError:
        return ConnectError(f"Vectors of '{self.model}' were asked of {urlsplit(self.url).netloc}", found, next)
