"""Part rows honestly, say what a figure is worth, find what a test gives away. The baseline is in `baselines`."""

from mercat.evaluation.base import Metric
from mercat.evaluation.bootstrap import interval, of_rows, paired
from mercat.evaluation.leaks import Leak, find_leaks
from mercat.evaluation.metrics import (
    LabelScores,
    accuracy,
    aurc,
    auroc,
    classification,
    confusion,
    coverage,
    ece,
    macro_f1,
    per_label,
)
from mercat.evaluation.ranking import average_precision, mrr, ndcg, ranking, recall
from mercat.evaluation.splits import Parts, by_group, by_time, rolling, stratified

__all__ = [
    "LabelScores",
    "Leak",
    "Metric",
    "Parts",
    "accuracy",
    "aurc",
    "auroc",
    "average_precision",
    "by_group",
    "by_time",
    "classification",
    "confusion",
    "coverage",
    "ece",
    "find_leaks",
    "interval",
    "macro_f1",
    "mrr",
    "ndcg",
    "of_rows",
    "paired",
    "per_label",
    "ranking",
    "recall",
    "rolling",
    "stratified",
]
