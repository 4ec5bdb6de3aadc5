"""Whether confidence means what it says, and what abstaining buys.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (expected calibration error, reliability diagram); bins of
equal mass after Nguyen and O'Connor 2015, "Posterior calibration and exploratory analysis for natural language
processing models"; Geifman and El-Yaniv 2017, "Selective Classification for Deep Neural Networks" (risk and coverage).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mercat.audit.base import Scored
from mercat.evaluation import Metric, aurc, coverage, ece, interval, of_rows
from mercat.heads.abstain import risk_coverage

BINS = 15
_CURVE_POINTS = 60
_SIMULATED = 500


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows of like confidence: their mean confidence, the share that is right with its Wilson interval, how many."""

    confidence: float
    accuracy: float
    low: float
    high: float
    rows: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well confidence and accuracy agree.

    `ece` is over bins of equal mass, `ece_equal_width` over 15 of equal width. `ece_by_chance` is what a perfectly
    calibrated classifier would exceed in one of twenty samples of this size: below it nothing is amiss that could be
    seen. `curve` holds (coverage, risk): the share of rows answered, most confident first, and the share of errors
    among them.
    """

    accuracy: Metric
    confidence: float
    ece: Metric
    ece_equal_width: float
    ece_by_chance: float
    aurc: float
    coverage: Metric
    covered_accuracy: Metric
    threshold: float
    bins: tuple[Bin, ...]
    curve: tuple[tuple[float, float], ...]


def calibrate(scored: Scored, *, bins: int = BINS, seed: int = 0) -> Calibration:
    """Compare the confidence of every row with whether it is right."""
    confident, right, kept = scored.confidences, scored.correct, scored.answered
    return Calibration(
        accuracy=interval(right.astype(np.float64), seed=seed),
        confidence=float(confident.mean()),
        ece=ece_of_equal_mass(confident, right, bins=bins, seed=seed),
        ece_equal_width=float(ece(confident, right)),
        ece_by_chance=ece_by_chance(confident, bins=bins, seed=seed),
        aurc=aurc(confident, right),
        coverage=coverage(confident, threshold=scored.threshold, seed=seed),
        covered_accuracy=interval(right[kept].astype(np.float64), seed=seed),
        threshold=scored.threshold,
        bins=tuple(reliability(confident, right, bins=bins)),
        curve=_thinned(*risk_coverage(confident, right)),
    )


def reliability(confidences: NDArray[np.float64], correct: NDArray[np.bool_], *, bins: int = BINS) -> list[Bin]:
    """Return bins of equal mass, from low confidence to high; fewer rows than bins give a bin each."""
    found = []
    for places in _parted(confidences, bins):
        share = float(correct[places].mean())
        low, high = wilson(int(correct[places].sum()), len(places))
        found.append(Bin(float(confidences[places].mean()), share, low, high, len(places)))
    return found


def ece_of_equal_mass(
    confidences: NDArray[np.float64], correct: NDArray[np.bool_], *, bins: int = BINS, seed: int = 0, n: int = 1000
) -> Metric:
    """Return the mean gap between confidence and accuracy over bins of equal mass, weighted by rows.

    The interval resamples rows within the bins as they are, so it lies somewhat high.
    """
    by_bin = _gaps(confidences, correct, bins)
    return of_rows(
        lambda weights: np.asarray(np.abs(weights @ by_bin).sum(axis=1) / weights.sum(axis=1)),
        len(confidences),
        seed=seed,
        n=n,
    )


def ece_by_chance(confidences: NDArray[np.float64], *, bins: int = BINS, seed: int = 0) -> float:
    """Return the 95th percentile of the error that a perfectly calibrated classifier shows on as many rows."""
    rng = np.random.default_rng(seed)
    parts = _parted(confidences, bins)
    errors = []
    for _ in range(_SIMULATED):
        gaps = (rng.random(len(confidences)) < confidences) - confidences
        errors.append(sum(abs(float(gaps[places].sum())) for places in parts) / len(confidences))
    return float(np.percentile(errors, 95))


def wilson(hits: int, rows: int, *, z: float = 1.959964) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927); it holds for few rows, and for none or all of them."""
    if not rows:
        return 0.0, 1.0
    share, spread = hits / rows, z * z / rows
    middle = (share + spread / 2) / (1 + spread)
    half = z * np.sqrt(share * (1 - share) / rows + spread / (4 * rows)) / (1 + spread)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def share_of(hits: int, rows: int) -> Metric:
    """Return a share with its Wilson interval; NaN without rows."""
    if not rows:
        return Metric(float("nan"), float("nan"), float("nan"), 0)
    return Metric(hits / rows, *wilson(hits, rows), rows)


def _parted(confidences: NDArray[np.float64], bins: int) -> list[NDArray[np.intp]]:
    order = np.argsort(confidences, kind="stable")
    return [places for places in np.array_split(order, bins) if len(places)]


def _gaps(confidences: NDArray[np.float64], correct: NDArray[np.bool_], bins: int) -> NDArray[np.float64]:
    """Return shape (rows, bins): correct minus confident, in the column of the row's bin."""
    table = np.zeros((len(confidences), bins))
    for number, places in enumerate(_parted(confidences, bins)):
        table[places, number] = correct[places] - confidences[places]
    return table


def _thinned(coverages: NDArray[np.float64], risks: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    """Return at most 60 points of the curve, the ends among them."""
    places = np.unique(np.linspace(0, len(coverages) - 1, min(len(coverages), _CURVE_POINTS)).astype(int))
    return tuple((float(coverages[place]), float(risks[place])) for place in places)
