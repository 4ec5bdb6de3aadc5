"""What a finished encoder finds, beside what it found before it learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import ArtifactWriter
from mercat.encoders.base import Encoder
from mercat.evaluation.base import Metric
from mercat.evaluation.bootstrap import interval, paired
from mercat.training.base import Evaluation, Report
from mercat.training.report import save_report


class Judged(Protocol):
    """How good an encoder is on some rows, so that it can be told and held against another one on the same rows."""

    def metrics(self) -> dict[str, Metric]:
        """Return each figure with its interval."""
        ...

    def minus(self, other: Self) -> dict[str, Metric]:
        """Return each figure's difference, paired by row."""
        ...


@dataclass(frozen=True, slots=True)
class PerQuery:
    """Figures that are means over queries, each of shape (queries,)."""

    figures: Mapping[str, NDArray[np.float64]]

    def metrics(self) -> dict[str, Metric]:
        """Return the means."""
        return {name: interval(values) for name, values in self.figures.items()}

    def minus(self, other: Self) -> dict[str, Metric]:
        """Return the differences of the means."""
        return {name: paired(values, other.figures[name]) for name, values in self.figures.items()}


J = TypeVar("J", bound=Judged)


def report_on(
    writer: ArtifactWriter,
    saved: Encoder,
    *,
    before: Judged,
    after: Judged,
    digest: str,
    counts: Mapping[str, int],
    seconds: float,
    notes: Sequence[str],
    details: Mapping[str, Any],
) -> Report:
    """Write the report of an encoder that was saved."""
    report = Report(
        metrics=after.metrics(),
        counts=counts,
        seconds=seconds,
        notes=notes,
        details={**details, "before": {name: metric.value for name, metric in before.metrics().items()}},
    )
    save_report(writer.folder, report)
    writer.metrics = dict(report.metrics)
    writer.encoder_fingerprint, writer.data_digest = saved.fingerprint, digest
    return report


def beside_before(ours: J, theirs: J, *, counts: Mapping[str, int], notes: Sequence[str] = ()) -> Evaluation:
    """Return how good an encoder is beside the one that it was made of."""
    return Evaluation(
        metrics=ours.metrics(),
        baseline="the encoder before",
        baseline_metrics=theirs.metrics(),
        differences=ours.minus(theirs),
        counts=counts,
        notes=notes,
    )
