"""Texts as plain strings: write them one way, cut them, find what they hold. No weights, no network."""

from mercat.text.normalise import narrow, normalise
from mercat.text.redact import KINDS, Redactor, Span

__all__ = ["KINDS", "Redactor", "Span", "narrow", "normalise"]
