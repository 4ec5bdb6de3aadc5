"""What trained artifacts say beyond one label: spans, several labels, numbers, how two texts belong together."""

from mercat.predictors.base import Estimate, Labeller, Match, Matcher, Regressor, Scored, Span, Tagger
from mercat.predictors.matcher import TrainedMatcher
from mercat.predictors.tagger import TrainedTagger
from mercat.predictors.vectors import TrainedLabeller, TrainedRegressor

__all__ = [
    "Estimate",
    "Labeller",
    "Match",
    "Matcher",
    "Regressor",
    "Scored",
    "Span",
    "Tagger",
    "TrainedLabeller",
    "TrainedMatcher",
    "TrainedRegressor",
    "TrainedTagger",
]
