"""Which explanation to trust: words it calls important must matter when they are taken out or put in.

Deletion and insertion curves after Petsiuk et al. 2018, "RISE"; comprehensiveness and sufficiency after DeYoung et al.
2020, "ERASER", as means over the top 5, 10, 20 and 50 % of the words. A random order of words is the baseline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mercat.audit.base import Scored
from mercat.audit.explain import Masked, Value, local_linear, occlusion, pieces, shapley
from mercat.audit.gradients import IntegratedGradients
from mercat.evaluation import Metric, interval, paired
from mercat.training.base import Progress
from mercat.training.classifying.classifier import Scorer
from mercat.training.progress import silent

OCCLUSION, LINEAR, SHAPLEY, GRADIENTS = "occlusion", "local linear", "Shapley", "integrated gradients"
RANDOM = "random order"
POINTS = 11
_TOP = (0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True, slots=True)
class Explanation:
    """One text: its pieces as (start, end), and per method a weight for each piece, for the label that was said."""

    text: str
    true: str
    label: str
    score: float
    spans: tuple[tuple[int, int], ...]
    weights: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """How much the order of a method's words matters, as means over texts with bootstrap intervals.

    `deletion` is the area under the probability while the words are taken out, the weightiest first: low is good.
    `insertion` the same while they are put in: high is good. `comprehensiveness` is the loss without the top words:
    high is good; `sufficiency` the loss with nothing else: low is good. The curves have 11 points from no word to all.
    """

    method: str
    deletion: Metric
    insertion: Metric
    comprehensiveness: Metric
    sufficiency: Metric
    deletion_curve: tuple[float, ...]
    insertion_curve: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """Explanations of single texts, and what they are worth.

    `trusted` is the method with the most insertion minus deletion. `over_random` and `over_next` are its paired lead
    over a random order and over the next method: an interval above 0 is a real lead. `gap` is the mean error of
    integrated gradients against what they should sum to, NaN without them.
    """

    texts: tuple[Explanation, ...]
    faithfulness: tuple[Faithfulness, ...]
    trusted: str
    over_random: Metric
    over_next: Metric
    next: str
    gap: float


@dataclass(frozen=True, slots=True)
class Curves:
    """What taking out and putting in did to one text, shape (11,) each, and the two figures of ERASER."""

    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]
    comprehensiveness: float
    sufficiency: float

    @property
    def lead(self) -> float:
        """Area under insertion minus area under deletion."""
        return area(self.insertion) - area(self.deletion)


def explain(
    scorer: Scorer,
    scored: Scored,
    *,
    gradients: IntegratedGradients | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Explained | None:
    """Explain every row of `scored` by every method and compare the methods; None when no text has two words."""
    texts: list[Explanation] = []
    tried: list[Mapping[str, Curves]] = []
    gaps: list[float] = []
    for number, row in enumerate(scored.rows):
        spans, label = pieces(row.text), int(scored.scores[number].argmax())
        if len(spans) > 1:
            value = Masked(scorer.scores, row.text, spans, label=label)
            weights = _weights(value, len(spans), [seed, number])
            if gradients is not None:
                found = gradients(row.text, spans, label=label)
                weights[GRADIENTS] = np.array(found.weights)
                gaps.append(found.gap)
            chance = np.random.default_rng([seed, number]).random(len(spans))
            tried.append({name: curves(value, each) for name, each in {**weights, RANDOM: chance}.items()})
            plain = {name: tuple(map(float, each)) for name, each in weights.items()}
            score = float(scored.scores[number, label])
            texts.append(Explanation(row.text, row.label, scorer.labels[label], score, tuple(spans), plain))
        progress("explain", number + 1, len(scored.rows))
    return _compared(texts, tried, gaps, seed) if texts else None


def curves(value: Value, weights: NDArray[np.float64]) -> Curves:
    """Take words out and put them in by falling weight, and note the value at eleven points."""
    size = len(weights)
    rank = np.empty(size, dtype=int)
    rank[np.argsort(-weights, kind="stable")] = np.arange(size)
    counts = np.round(np.linspace(0, size, POINTS)).astype(int)
    tops = np.ceil(np.array(_TOP) * size).astype(int)
    first = value(rank[None, :] >= counts[:, None])
    second = value(rank[None, :] < counts[:, None])
    removed, alone = value(rank[None, :] >= tops[:, None]), value(rank[None, :] < tops[:, None])
    return Curves(first, second, float((first[0] - removed).mean()), float((first[0] - alone).mean()))


def area(curve: NDArray[np.float64] | Sequence[float]) -> float:
    """Return the area under a curve over 0 to 1 by the trapezoid rule."""
    values = np.asarray(curve, dtype=np.float64)
    return float((values[1:] + values[:-1]).mean() / 2)


def _weights(value: Value, size: int, seed: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    drawn = int(np.random.default_rng(seed).integers(2**31))
    return {
        OCCLUSION: occlusion(value, size),
        LINEAR: local_linear(value, size, seed=drawn),
        SHAPLEY: shapley(value, size, seed=drawn),
    }


def _compared(
    texts: Sequence[Explanation], tried: Sequence[Mapping[str, Curves]], gaps: Sequence[float], seed: int
) -> Explained:
    leads = {name: np.array([each[name].lead for each in tried]) for name in tried[0]}
    ranked = sorted((name for name in leads if name != RANDOM), key=lambda name: -leads[name].mean())
    best, second = ranked[:2]
    return Explained(
        texts=tuple(texts),
        faithfulness=tuple(_faithfulness(name, [each[name] for each in tried], seed) for name in (*ranked, RANDOM)),
        trusted=best,
        over_random=paired(leads[best], leads[RANDOM], seed=seed),
        over_next=paired(leads[best], leads[second], seed=seed),
        next=second,
        gap=float(np.mean(gaps)) if gaps else float("nan"),
    )


def _faithfulness(method: str, found: Sequence[Curves], seed: int) -> Faithfulness:
    return Faithfulness(
        method=method,
        deletion=interval([area(each.deletion) for each in found], seed=seed),
        insertion=interval([area(each.insertion) for each in found], seed=seed),
        comprehensiveness=interval([each.comprehensiveness for each in found], seed=seed),
        sufficiency=interval([each.sufficiency for each in found], seed=seed),
        deletion_curve=tuple(map(float, np.mean([each.deletion for each in found], axis=0))),
        insertion_curve=tuple(map(float, np.mean([each.insertion for each in found], axis=0))),
    )
