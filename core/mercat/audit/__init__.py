"""What a classifier is worth beyond one figure: calibration, fairness, robustness, explanations, leaks, suspects."""

from mercat.audit.base import Scored, score_rows
from mercat.audit.calibration import Calibration, calibrate
from mercat.audit.findings import Finding, findings
from mercat.audit.robustness import Robustness, robustness
from mercat.audit.run import Audit, Sizes, audit
from mercat.audit.saving import as_data, save
from mercat.audit.slices import Slices, by_column, slices_of
from mercat.audit.subject import Auditable, Subject, read_rows, subject_of
from mercat.audit.swaps import Swaps, counterfactuals

__all__ = [
    "Audit",
    "Auditable",
    "Calibration",
    "Finding",
    "Robustness",
    "Scored",
    "Sizes",
    "Slices",
    "Subject",
    "Swaps",
    "as_data",
    "audit",
    "by_column",
    "calibrate",
    "counterfactuals",
    "findings",
    "read_rows",
    "robustness",
    "save",
    "score_rows",
    "slices_of",
    "subject_of",
]
