"""An encoder without weights, for tests: character n-grams hashed to a vector. Works for any script."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence

import numpy as np

from mercat.encoders.base import EncoderInfo, Role, Vectors
from mercat.errors import ConfigError

_LONGEST = 20_000  # characters that are looked at


class Hashing:
    """Counts character n-grams in `dimensions` signed buckets (the hashing trick, Weinberger et al. 2009).

    Texts that share spelling are near each other, which is enough to test everything around an encoder. Raises
    ConfigError for sizes below 1, or `shortest` above `longest`.
    """

    portable = True  # see `mercat.encoders.sending`

    def __init__(self, *, dimensions: int = 256, shortest: int = 1, longest: int = 3, cache_mb: int = 16) -> None:
        if dimensions < 1 or not 1 <= shortest <= longest:
            found = f"dimensions {dimensions}, shortest {shortest}, longest {longest}"
            raise ConfigError("A hashing encoder", found, "dimensions >= 1 and 1 <= shortest <= longest")
        self._dimensions, self._shortest, self._longest, self.cache_mb = dimensions, shortest, longest, cache_mb

    @property
    def fingerprint(self) -> str:
        name = f"hashing/1 {self._dimensions} {self._shortest} {self._longest}"
        return hashlib.sha256(name.encode()).hexdigest()

    @property
    def dimensions(self) -> int:
        return self._dimensions

    def warm_up(self) -> None:
        """There is nothing to load."""

    def encode(self, texts: Sequence[str], *, role: Role = "document") -> Vectors:
        """Return shape (len(texts), dimensions), float32, rows of length 1. The role makes no difference."""
        found = np.zeros((len(texts), self._dimensions), dtype=np.float32)
        for row, text in enumerate(texts):
            self._count(f" {' '.join(text[:_LONGEST].casefold().split())} ", found[row])
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        found[lengths[:, 0] == 0, 0] = 1.0  # n-grams that cancel out exactly still need a direction
        lengths[lengths == 0] = 1.0
        found /= lengths
        return found

    def info(self) -> EncoderInfo:
        return EncoderInfo("hashing", "numpy", "cpu", "float32", self._dimensions, 0, 0, self.fingerprint)

    def _count(self, text: str, row: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
        grams = [text[at : at + n] for n in range(self._shortest, self._longest + 1) for at in range(len(text) - n + 1)]
        hashes = np.fromiter((zlib.crc32(gram.encode("utf-8", "replace")) for gram in grams), np.uint32, len(grams))
        signs = np.where(hashes >> 31, np.float32(-1), np.float32(1))
        np.add.at(row, (hashes & 0x7FFFFFFF) % self._dimensions, signs)
