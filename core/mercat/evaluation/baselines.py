"""The simple methods that a fine-tuned model must beat. Loaded late, because scikit-learn takes seconds to import."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import FeatureUnion

from mercat.errors import DataError
from mercat.text import normalise


class TfidfLinear:
    """TF-IDF of words (1-2) and of characters within words (2-5), then multinomial logistic regression.

    Works for Chinese by its characters. It has no choices to tune on validation rows, and never abstains.
    """

    name = "TF-IDF + logistic regression"
    threshold = 0.0

    def __init__(self, *, strength: float = 10.0, max_features: int = 60_000) -> None:
        self._features = _features(max_features)
        self._model = LogisticRegression(C=strength, max_iter=100, tol=1e-3)
        self.labels: tuple[str, ...] = ()

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> TfidfLinear:
        """Fit on the train part and return itself. Raises DataError for fewer than two labels."""
        if len(set(labels)) < 2:
            raise DataError("The baseline needs rows of at least two labels", f"Found {len(set(labels))}", "more rows")
        self._model.fit(self._features.fit_transform([normalise(text) for text in texts]), np.array(labels))
        self.labels = tuple(str(label) for label in self._model.classes_)
        return self

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return shape (len(texts), len(labels)): probabilities, columns in the order of `labels`."""
        if not texts:
            return np.zeros((0, len(self.labels)), dtype=np.float32)
        found = self._model.predict_proba(self._features.transform([normalise(text) for text in texts]))
        return np.asarray(found, dtype=np.float32)

    def predict(self, texts: Sequence[str]) -> list[str]:
        """Return the likeliest label of each text."""
        return [self.labels[number] for number in self.scores(texts).argmax(axis=1)] if texts else []


class TfidfOneVsRest:
    """The same features, then one logistic regression per label; a label is given from probability 0.5 on."""

    name = "TF-IDF + one logistic regression per label"

    def __init__(self, *, strength: float = 10.0, max_features: int = 60_000) -> None:
        self._features, self._strength = _features(max_features), strength
        self._models: list[LogisticRegression | float] = []

    def fit(self, texts: Sequence[str], truth: NDArray[np.bool_]) -> TfidfOneVsRest:
        """Fit on the train part, `truth` of shape (texts, labels), and return itself."""
        features = self._features.fit_transform([normalise(text) for text in texts])
        for column in truth.T:
            constant = column.all() or not column.any()
            model = LogisticRegression(C=self._strength, max_iter=100, tol=1e-3, solver="liblinear")
            self._models.append(float(column[0]) if constant else model.fit(features, column))
        return self

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return shape (len(texts), labels): the probability of each label by itself."""
        features = self._features.transform([normalise(text) for text in texts])
        found = np.zeros((len(texts), len(self._models)), dtype=np.float32)
        for column, model in enumerate(self._models):
            found[:, column] = model if isinstance(model, float) else model.predict_proba(features)[:, 1]
        return found


class TfidfRidge:
    """The same features, then ridge regression."""

    name = "TF-IDF + ridge regression"

    def __init__(self, *, penalty: float = 1.0, max_features: int = 60_000) -> None:
        self._features, self._model = _features(max_features), Ridge(alpha=penalty)

    def fit(self, texts: Sequence[str], numbers: NDArray[np.float32]) -> TfidfRidge:
        """Fit on the train part, a number per text of shape (texts,), and return itself."""
        self._model.fit(self._features.fit_transform([normalise(text) for text in texts]), numbers)
        return self

    def values(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a number per text. The shape is (texts,)."""
        found = self._model.predict(self._features.transform([normalise(text) for text in texts]))
        return np.asarray(found, dtype=np.float32)


def _features(most: int) -> FeatureUnion:
    words = r"(?u)\b\w+\b"
    shared = {"sublinear_tf": True, "min_df": 2, "max_features": most, "dtype": np.float32}
    return FeatureUnion(
        [
            ("words", TfidfVectorizer(ngram_range=(1, 2), token_pattern=words, **shared)),
            ("characters", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), **shared)),
        ]
    )
