"""What trained artifacts say beyond one label: spans, several labels, numbers, how two texts belong together."""

from mercat.predictors.base import Span, Tagger
from mercat.predictors.tagger import TrainedTagger

__all__ = ["Span", "Tagger", "TrainedTagger"]
