"""What a finished encoder finds, beside what it found before it learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import ArtifactWriter
from mercat.encoders.base import Encoder
from mercat.evaluation.bootstrap import interval, paired
from mercat.training.base import Evaluation, Report
from mercat.training.report import save_report

Figures = Mapping[str, NDArray[np.float64]]


def report_on(
    writer: ArtifactWriter,
    saved: Encoder,
    *,
    before: Figures,
    after: Figures,
    digest: str,
    counts: Mapping[str, int],
    seconds: float,
    notes: Sequence[str],
    details: Mapping[str, Any],
) -> Report:
    """Write the report of an encoder that was saved; figures per query have the shape (queries,)."""
    report = Report(
        metrics={name: interval(values) for name, values in after.items()},
        counts=counts,
        seconds=seconds,
        notes=notes,
        details={**details, "before": {name: float(values.mean()) for name, values in before.items()}},
    )
    save_report(writer.folder, report)
    writer.metrics = dict(report.metrics)
    writer.encoder_fingerprint, writer.data_digest = saved.fingerprint, digest
    return report


def beside_before(
    ours: Figures, theirs: Figures, *, counts: Mapping[str, int], notes: Sequence[str] = ()
) -> Evaluation:
    """Return the figures of an encoder with those of the one that it was made of, paired by query."""
    return Evaluation(
        metrics={name: interval(values) for name, values in ours.items()},
        baseline="the encoder before",
        baseline_metrics={name: interval(values) for name, values in theirs.items()},
        differences={name: paired(values, theirs[name]) for name, values in ours.items()},
        counts=counts,
        notes=notes,
    )
