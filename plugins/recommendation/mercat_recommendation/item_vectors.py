"""Vectors of item texts, encoded once: kept in chunks while a recipe runs, and only what is new in a service."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import load_arrays, save_arrays
from mercat.encoders.base import Encoder
from mercat.training.base import Progress

_CHUNK = 2_048


def encode_items(encoder: Encoder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Return shape (len(texts), dimensions); an item without text is encoded as a space."""
    if not texts:
        return np.zeros((0, encoder.dimensions), dtype=np.float32)
    return encoder.encode([text or " " for text in texts], role="document")


def encode_kept(encoder: Encoder, texts: Sequence[str], *, folder: Path, progress: Progress) -> NDArray[np.float32]:
    """Encode in chunks, each kept in `folder`, so that a run that was killed encodes only what is missing.

    The vectors have shape (texts, dimensions).
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = [np.zeros((0, encoder.dimensions), dtype=np.float32)]
    for start in range(0, len(texts), _CHUNK):
        chunk = texts[start : start + _CHUNK]
        name = hashlib.sha256("\0".join([encoder.fingerprint, *chunk]).encode()).hexdigest()[:24]
        kept = folder / f"items-{name}.safetensors"
        if not kept.is_file():
            temporary = kept.with_suffix(".new")
            save_arrays(temporary, {"vectors": encode_items(encoder, chunk)})
            temporary.replace(kept)
        found.append(load_arrays(kept)["vectors"])
        progress("encode items", start + len(chunk), len(texts))
    return np.concatenate(found)
