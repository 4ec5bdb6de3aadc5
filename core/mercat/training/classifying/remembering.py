"""What the recipes share that may put a memory beside the head that they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from mercat.encoders.base import Vectors
from mercat.errors import ConfigError
from mercat.heads import LinearHead, MemoryHead, Remembered
from mercat.heads.memory import check_memory
from mercat.training.classifying.classifier import Calibration

Labelled = tuple[Vectors, Sequence[str]]


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """How a head is fitted on vectors. `memory` is the share of the nearest vectors' votes; 0 for a plain linear head.

    Raises ConfigError for what is out of range.
    """

    calibration: Calibration
    target_error: float | None
    strength: float | Literal["auto"]
    class_weight: Literal["balanced"] | None
    memory: float | Literal["auto"]
    neighbours: int
    remember: Remembered

    def __post_init__(self) -> None:
        check_memory(self.memory, self.neighbours)
        if self.remember not in get_args(Remembered):
            known = ", ".join(get_args(Remembered))
            raise ConfigError(f"remember = '{self.remember}'", f"Known: {known}", "remember = 'rows'")

    def fit(
        self, rows: Labelled, *, validation: Labelled, fingerprint: str, seed: int
    ) -> tuple[LinearHead | MemoryHead, dict[str, Any]]:
        """Return the head that `rows`, (vectors, labels), give, and what a report keeps of the choices made for it."""
        remembering = self.memory != 0
        linear = LinearHead.fit(
            *rows,
            fingerprint=fingerprint,
            validation=validation,
            calibration=self.calibration,
            class_weight=self.class_weight,
            strength=self.strength,
            max_error=None if remembering else self.target_error,
            seed=seed,
        )
        head: LinearHead | MemoryHead = linear
        if remembering:
            head = MemoryHead.beside(
                linear,
                rows,
                validation=validation,
                share=self.memory,
                neighbours=self.neighbours,
                remember=self.remember,
                calibrate=self.calibration != "none",
                max_error=self.target_error,
            )
        found: dict[str, Any] = {"temperature": head.temperature, "threshold": head.threshold}
        return head, {**found, "memory": head.share} if isinstance(head, MemoryHead) else found

    def refit(self, judged: LinearHead | MemoryHead, rows: Labelled, *, seed: int) -> LinearHead | MemoryHead:
        """Return a head of more `rows` with all that was chosen for `judged`. It has no tables, which fit one head."""
        before = judged if isinstance(judged, LinearHead) else judged.linear
        fitted = LinearHead.fit(
            *rows,
            fingerprint=before.fingerprint,
            calibration="none",
            class_weight=self.class_weight,
            strength=self.strength,
            seed=seed,
        )
        linear = replace(fitted, temperature=before.temperature, threshold=before.threshold)
        if isinstance(judged, LinearHead):
            return replace(linear, notes=(*fitted.notes, *judged.notes))
        memory = MemoryHead.beside(
            linear,
            rows,
            validation=rows,  # nothing is chosen by it: the share is given
            share=judged.share,
            neighbours=self.neighbours,
            remember=self.remember,
            calibrate=False,
        )
        notes = (*fitted.notes, *judged.notes)
        return replace(memory, temperature=judged.temperature, threshold=judged.threshold, notes=notes)


def with_fingerprint(head: LinearHead | MemoryHead, fingerprint: str) -> LinearHead | MemoryHead:
    """Return the head as one for the vectors of this encoder."""
    if isinstance(head, LinearHead):
        return replace(head, fingerprint=fingerprint)
    return replace(head, linear=replace(head.linear, fingerprint=fingerprint))
