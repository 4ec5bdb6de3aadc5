"""Vectors in, calibrated scores out. Heads never see text and never load an encoder."""

from mercat.heads.abstain import ALWAYS, Choice, aurc, choose_threshold, risk_coverage
from mercat.heads.base import Head, Scores, Vectors
from mercat.heads.calibrate import IsotonicTables, ece, fit_isotonic, fit_temperature, nll, softmax
from mercat.heads.linear import LinearHead
from mercat.heads.load import load_head, require_fingerprint
from mercat.heads.memory import MemoryHead, Remembered

__all__ = [
    "ALWAYS",
    "Choice",
    "Head",
    "IsotonicTables",
    "LinearHead",
    "MemoryHead",
    "Remembered",
    "Scores",
    "Vectors",
    "aurc",
    "choose_threshold",
    "ece",
    "fit_isotonic",
    "fit_temperature",
    "load_head",
    "nll",
    "require_fingerprint",
    "risk_coverage",
    "softmax",
]
