"""A second look at the first hits by what reads question and text together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mercat.errors import DataError
from mercat.retrieval.base import Reranker
from mercat.values import Hit


def rerank_hits(reranker: Reranker, query: str, hits: Sequence[Hit], *, first: int) -> list[Hit]:
    """Return the hits with the first ones in the reranker's order, with its scores; equal scores keep their order.

    Hits behind the first ones stay behind: their scores are moved so that they go on where the others end. Raises
    DataError for a reranker that gives another number of scores, or one that is no number.
    """
    looked_at, rest = hits[:first], hits[first:]
    if not looked_at:
        return list(hits)
    scores = np.asarray(reranker.rerank(query, [_read(hit) for hit in looked_at]), dtype=np.float64)
    if scores.shape != (len(looked_at),) or not np.isfinite(scores).all():
        raise DataError(
            f"{type(reranker).__name__} was given {len(looked_at)} texts to score",
            f"It gave an array of shape {scores.shape}, with {int((~np.isfinite(scores)).sum())} that are no numbers",
            "another reranker, or train it again",
        )
    order = np.argsort(-scores, kind="stable")
    found = [replace(looked_at[row], score=float(scores[row])) for row in order]
    moved = found[-1].score - rest[0].score if rest else 0.0
    return found + [replace(hit, score=hit.score + moved) for hit in rest]


def _read(hit: Hit) -> str:
    """Return what there is to read of a hit: its title, where it has one, and its text."""
    return "\n".join(part for part in (hit.title, hit.text) if part)
