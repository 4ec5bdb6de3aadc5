"""Texts in, calibrated label scores out: an encoder and a head joined."""

from mercat.classifiers.base import Classifier, Prediction
from mercat.classifiers.trained import TrainedClassifier

__all__ = ["Classifier", "Prediction", "TrainedClassifier"]
