"""Whether what comes in is still what a classifier learned from: answers, confidence, meaning, words and form."""

from mercat.audit.drift.findings import Verdict, findings, verdict
from mercat.audit.drift.run import Drift, Side, drift
from mercat.audit.drift.saving import as_data, save
from mercat.audit.drift.texts import Compare, compare_of

__all__ = [
    "Compare",
    "Drift",
    "Side",
    "Verdict",
    "as_data",
    "compare_of",
    "drift",
    "findings",
    "save",
    "verdict",
]
