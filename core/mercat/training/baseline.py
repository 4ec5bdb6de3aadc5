"""The simple baseline that every classifier is measured beside, and the rows that would flatter both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.training.data import folded
from mercat.values import Example

ALIKE = 0.8  # cosine of character n-grams from which two texts count as near-duplicates
_BLOCK = 1000


def baseline_scores(train: Sequence[Example], rows: Sequence[Example]) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Return labels and scores, shape (rows, labels), of logistic regression on TF-IDF of words and characters."""
    from sklearn.linear_model import LogisticRegression

    learned, asked = _features([row.text for row in train], [row.text for row in rows])
    model = LogisticRegression(C=10.0, max_iter=200, tol=1e-3).fit(learned, [row.label for row in train])
    return tuple(str(label) for label in model.classes_), model.predict_proba(asked).astype(np.float32)


def resembling(rows: Sequence[Example], train: Sequence[Example], *, alike: float = ALIKE) -> NDArray[np.bool_]:
    """Return, per row, whether some train row has nearly the same text (TF-IDF cosine at least `alike`)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    known = [folded(row.text) for row in train]
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=2)
    learned = vectorizer.fit_transform(known)
    asked = vectorizer.transform([folded(row.text) for row in rows])
    nearest = [
        np.asarray((asked[start : start + _BLOCK] @ learned.T).max(axis=1).todense()).ravel()
        for start in range(0, asked.shape[0], _BLOCK)
    ]
    exact = np.isin([folded(row.text) for row in rows], known)
    return np.asarray((np.concatenate(nearest) >= alike) | exact)


def _features(train: Sequence[str], rows: Sequence[str]) -> tuple[Any, Any]:
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    views = (
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=3, max_features=50_000),
    )
    learned = hstack([view.fit_transform(train) for view in views]).tocsr()
    return learned, hstack([view.transform(rows) for view in views]).tocsr()
