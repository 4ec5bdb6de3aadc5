"""What trained artifacts say beyond one label: spans, several labels, numbers, how two texts belong together."""

from mercat.predictors.base import Match, Matcher, Span, Tagger
from mercat.predictors.matcher import TrainedMatcher
from mercat.predictors.tagger import TrainedTagger

__all__ = ["Match", "Matcher", "Span", "Tagger", "TrainedMatcher", "TrainedTagger"]
