"""What every recipe that learns from labelled rows leaves in its artifact beside the model itself."""

from __future__ import annotations

from mercat.artifacts import ArtifactWriter
from mercat.training.base import Report
from mercat.training.data import Parts, save_rows
from mercat.training.report import save_report


def publish(writer: ArtifactWriter, report: Report, parts: Parts, *, fingerprint: str) -> Report:
    """Write the report and the hashes of the rows that were seen; say what the artifact was made from."""
    save_rows(writer.folder, parts)
    save_report(writer.folder, report)
    writer.metrics = dict(report.metrics)
    writer.encoder_fingerprint, writer.data_digest = fingerprint, parts.digest
    return report
