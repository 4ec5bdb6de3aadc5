"""What every classifier must do. Inherit `ClassifierContract` and give it a classifier and some texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from mercat.classifiers import Classifier
from mercat.testing.contract import Contract


class ClassifierContract(Contract):
    """Tests that a class of classifiers inherits."""

    texts: Sequence[str] = ("my card has not arrived", "how do I top up?", "", "退款多久到账")

    @abstractmethod
    def classifier(self) -> Classifier:
        """Return a classifier that is ready to be asked."""

    def test_it_is_a_classifier(self) -> None:
        assert isinstance(self.classifier(), Classifier)

    def test_scores_are_probabilities(self) -> None:
        classifier = self.classifier()
        scores = classifier.scores(self.texts)
        assert scores.shape == (len(self.texts), len(classifier.labels))
        assert scores.dtype == np.float32
        assert (scores >= 0).all()
        np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-4)

    def test_predictions_are_the_best_scores_in_order(self) -> None:
        classifier = self.classifier()
        scores = classifier.scores(self.texts)
        for row, prediction in zip(scores, classifier.predict_many(self.texts, top=2), strict=True):
            assert len(prediction.labels) == len(prediction.scores) == min(2, len(classifier.labels))
            np.testing.assert_allclose(prediction.scores, np.sort(row)[::-1][:2], atol=1e-4)
            assert abs(row[list(classifier.labels).index(prediction.label)] - row.max()) < 1e-4
            assert prediction.confidence == prediction.scores[0]
            assert prediction.abstained == (prediction.confidence < classifier.threshold)

    def test_more_labels_than_there_are_gives_all(self) -> None:
        classifier = self.classifier()
        (prediction,) = classifier.predict_many(self.texts[:1], top=10_000)
        assert sorted(prediction.labels) == sorted(classifier.labels)

    def test_no_texts_give_nothing(self) -> None:
        classifier = self.classifier()
        assert classifier.predict_many([]) == []
        assert classifier.scores([]).shape == (0, len(classifier.labels))

    def test_a_text_scores_alone_as_among_others(self) -> None:
        classifier = self.classifier()
        together = classifier.scores(self.texts)
        alone = np.concatenate([classifier.scores([text]) for text in self.texts])
        np.testing.assert_allclose(alone, together, atol=1e-3)
