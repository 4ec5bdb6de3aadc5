"""What a classifier is worth beyond one figure: calibration, fairness, robustness, explanations, leaks, suspects."""

from mercat.audit.base import Scored, score_rows
from mercat.audit.calibration import Calibration, calibrate
from mercat.audit.card import CardPart, card
from mercat.audit.explain import local_linear, occlusion, shapley
from mercat.audit.faithful import Explained, Explanation, Faithfulness, explain
from mercat.audit.findings import Finding, findings
from mercat.audit.gradients import IntegratedGradients
from mercat.audit.overlap import Overlap, overlap
from mercat.audit.robustness import Robustness, robustness
from mercat.audit.run import Audit, Sizes, audit
from mercat.audit.saving import as_data, save
from mercat.audit.slices import Slices, by_column, slices_of
from mercat.audit.subject import Auditable, Subject, read_rows, subject_of
from mercat.audit.suspects import Suspects, suspects
from mercat.audit.swaps import Swaps, counterfactuals

__all__ = [
    "Audit",
    "Auditable",
    "Calibration",
    "CardPart",
    "Explained",
    "Explanation",
    "Faithfulness",
    "Finding",
    "IntegratedGradients",
    "Overlap",
    "Robustness",
    "Scored",
    "Sizes",
    "Slices",
    "Subject",
    "Suspects",
    "Swaps",
    "as_data",
    "audit",
    "by_column",
    "calibrate",
    "card",
    "counterfactuals",
    "explain",
    "findings",
    "local_linear",
    "occlusion",
    "overlap",
    "read_rows",
    "robustness",
    "save",
    "score_rows",
    "shapley",
    "slices_of",
    "subject_of",
    "suspects",
]
