"""What in a hit's text the question has found: its words, or the sentence that is nearest to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mercat.encoders.base import Encoder
from mercat.text import Piece, matched_spans, sentences
from mercat.values import Hit

_SENTENCES = 30  # of a text, from its start, among which the nearest is looked for


def highlighted(
    texts: Sequence[str], found: Sequence[Sequence[Hit]], *, stems: bool = False, encoder: Encoder | None = None
) -> list[list[Hit]]:
    """Return the hits with `spans`: the words that they share with their question.

    A hit that shares none was found by its meaning: with an `encoder` its span is the sentence nearest to the question
    by cosine, of its first 30. All sentences of a call are encoded at once.
    """
    marked = [
        [replace(hit, spans=tuple(matched_spans(hit.text, text, stems=stems))) for hit in hits]
        for text, hits in zip(texts, found, strict=True)
    ]
    if encoder is not None:
        _mark_sentences(encoder, texts, marked)
    return marked


def _mark_sentences(encoder: Encoder, texts: Sequence[str], found: list[list[Hit]]) -> None:
    """Give each hit without a span its best sentence, in place."""
    bare: list[tuple[int, int, list[Piece]]] = []
    for question, hits in enumerate(found):
        for place, hit in enumerate(hits):
            if not hit.spans and (pieces := sentences(hit.text)[:_SENTENCES]):
                bare.append((question, place, pieces))
    if not bare:
        return
    asked = encoder.encode([texts[question] for question, _, _ in bare], role="query")
    vectors = encoder.encode([piece.text for _, _, pieces in bare for piece in pieces], role="document")
    parts = np.split(vectors, np.cumsum([len(pieces) for _, _, pieces in bare])[:-1])
    for vector, of_text, (question, place, pieces) in zip(asked, parts, bare, strict=True):
        best = pieces[int((of_text @ vector).argmax())]
        found[question][place] = replace(found[question][place], spans=((best.start, best.end),))
