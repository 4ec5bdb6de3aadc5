"""How `update` renews an artifact with weights of its own: fine-tuned further, from where it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mercat.encoders.base import Encoder
from mercat.encoders.transformer import Transformer
from mercat.heads import Head, LinearHead
from mercat.training.base import Run
from mercat.training.classifying.full import Full
from mercat.training.data import Parts


class Continued(Full):
    """`full` on the parts that it is given, from an artifact's encoder and head.

    With labels that the head does not know, or where it is not linear, the head starts from logistic regression on the
    artifact's own vectors.
    """

    def __init__(self, encoder: Encoder, learn: Parts, *, head: Head, **options: Any) -> None:
        super().__init__(encoder, **options)
        self._learn, self._head = learn, head

    def parts(self, run: Run) -> Parts:
        """Return the parts that were given."""
        return self._learn

    def shape(self) -> Mapping[str, Any]:
        """Return what shapes the result, the head that it starts from among it."""
        head = self._head
        started = {"labels": list(head.labels), "bias": head.bias.tolist() if isinstance(head, LinearHead) else None}
        return {**super().shape(), **started}

    def _linear_head(self, run: Run, base: Transformer, parts: Parts) -> LinearHead:
        return self._known(parts) or super()._linear_head(run, base, parts)

    def _head_seconds(self, base: Transformer, parts: Parts, clock: Callable[[], float]) -> dict[str, float]:
        return {} if self._known(parts) else super()._head_seconds(base, parts, clock)

    def _known(self, parts: Parts) -> LinearHead | None:
        """Return the artifact's head if it is one to go on from: linear, and with all labels to learn."""
        head = self._head
        return head if isinstance(head, LinearHead) and set(parts.labels) <= set(head.labels) else None
