"""Texts as plain strings: write them one way, cut them, find what they hold. No weights, no network."""

from mercat.text.chunk import chunk
from mercat.text.duplicates import jaccard, near_duplicates, shingles, signatures
from mercat.text.language import detect
from mercat.text.matches import matched_spans
from mercat.text.normalise import narrow, normalise
from mercat.text.redact import KINDS, Redactor, Span
from mercat.text.sentences import Piece, sentences
from mercat.text.tokens import keywords, segmenter
from mercat.text.words import word_spans

__all__ = [
    "KINDS",
    "Piece",
    "Redactor",
    "Span",
    "chunk",
    "detect",
    "jaccard",
    "keywords",
    "matched_spans",
    "narrow",
    "near_duplicates",
    "normalise",
    "segmenter",
    "sentences",
    "shingles",
    "signatures",
    "word_spans",
]
