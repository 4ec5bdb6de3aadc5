"""What a classifier is worth beyond one figure: calibration, fairness, robustness, explanations, leaks, suspects."""

from mercat.audit.base import Scored, score_rows
from mercat.audit.calibration import Calibration, calibrate

__all__ = ["Calibration", "Scored", "calibrate", "score_rows"]
