"""What every encoder does to a text before its tokenizer sees it."""

from __future__ import annotations


def readable(text: str, most: int) -> str:
    """Return at most so many characters of a text, without what is no character (lone surrogates become "?")."""
    cut = text.strip()[:most]
    return cut if cut.isascii() else cut.encode("utf-8", "replace").decode("utf-8")
