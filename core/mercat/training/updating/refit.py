"""How `update` renews a head on the shared encoder: fitted on old and new rows, which costs seconds."""

from __future__ import annotations

from typing import Any

from mercat.encoders.base import Encoder
from mercat.heads import Head, MemoryHead
from mercat.training.base import Run
from mercat.training.classifying.linear import Linear
from mercat.training.data import Parts


class Refit(Linear):
    """`linear` on the parts that it is given; a head that has a memory gets a new one of the same kind and share."""

    def __init__(self, encoder: Encoder, learn: Parts, *, head: Head, **options: Any) -> None:
        super().__init__(encoder, **_memory(head), **options)
        self._learn = learn

    def parts(self, run: Run) -> Parts:
        """Return the parts that were given."""
        return self._learn


def _memory(head: Head) -> dict[str, Any]:
    if not isinstance(head, MemoryHead):
        return {}
    whole = len(head.vectors) > len(head.labels)
    kind = "rows" if whole else "prototypes"
    return {"memory": head.share, "remember": kind, **({"neighbours": head.neighbours} if whole else {})}
