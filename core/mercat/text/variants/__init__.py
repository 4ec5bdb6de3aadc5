"""The same text written otherwise: slips of the keyboard, other names, other words of the same meaning."""

from mercat.text.variants.ways import WAYS, Way, changed

__all__ = ["WAYS", "Way", "changed"]
