"""What everything must do that says more of texts than one label. Inherit a contract and give it such a part."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from mercat.predictors.base import Labeller, Matcher, Regressor, Tagger
from mercat.retrieval.base import Reranker
from mercat.testing.contract import Contract

TEXTS = (
    "Maria Silva moved to Oslo in 1996.",
    "how do I top up?",
    "",
    "   ",
    "李雷住在北京",
    "\ud800 broken \x00",
    "word " * 700,
)


class TaggerContract(Contract):
    """Tests that a class of taggers inherits."""

    texts: Sequence[str] = TEXTS

    @abstractmethod
    def tagger(self) -> Tagger:
        """Return a tagger that is ready to be asked."""

    def test_it_is_a_tagger(self) -> None:
        tagger = self.tagger()
        assert isinstance(tagger, Tagger)
        assert len(set(tagger.labels)) == len(tagger.labels) > 0

    def test_spans_lie_in_their_text_in_order(self) -> None:
        tagger = self.tagger()
        for text, spans in zip(self.texts, tagger.tag_many(self.texts), strict=True):
            end = 0
            for span in spans:
                assert end <= span.start < span.end <= len(text)
                assert span.text == text[span.start : span.end]
                assert span.label in tagger.labels
                assert 0.0 <= span.score <= 1.0
                end = span.end

    def test_no_texts_give_nothing(self) -> None:
        assert self.tagger().tag_many([]) == []

    def test_a_text_is_tagged_alone_as_among_others(self) -> None:
        tagger = self.tagger()
        together = tagger.tag_many(self.texts)
        alone = [tagger.tag_many([text])[0] for text in self.texts]
        assert [[(s.start, s.end, s.label) for s in spans] for spans in together] == [
            [(s.start, s.end, s.label) for s in spans] for spans in alone
        ]


class MatcherContract(Contract):
    """Tests that a class of matchers inherits."""

    pairs: Sequence[tuple[str, str]] = tuple(zip(TEXTS, (*TEXTS[1:], TEXTS[0]), strict=True))

    @abstractmethod
    def matcher(self) -> Matcher:
        """Return a matcher that is ready to be asked."""

    def test_it_is_a_matcher(self) -> None:
        assert isinstance(self.matcher(), Matcher)

    def test_scores_are_those_of_the_matches(self) -> None:
        matcher = self.matcher()
        scores = matcher.scores(self.pairs)
        assert scores.shape == (len(self.pairs),)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()
        found = matcher.match_many(self.pairs)
        np.testing.assert_allclose([match.score for match in found], scores, atol=1e-4)
        assert {match.label for match in found} <= set(matcher.labels or [""])
        if matcher.labels:
            assert ((scores >= 0) & (scores <= 1)).all()

    def test_no_pairs_give_nothing(self) -> None:
        assert self.matcher().match_many([]) == []
        assert self.matcher().scores([]).shape == (0,)

    def test_a_pair_scores_alone_as_among_others(self) -> None:
        matcher = self.matcher()
        alone = np.concatenate([matcher.scores([pair]) for pair in self.pairs])
        np.testing.assert_allclose(alone, matcher.scores(self.pairs), atol=1e-3)


class RerankerContract(Contract):
    """Tests that a class of rerankers inherits."""

    texts: Sequence[str] = TEXTS

    @abstractmethod
    def reranker(self) -> Reranker:
        """Return a reranker that is ready to be asked."""

    def test_it_is_a_reranker(self) -> None:
        assert isinstance(self.reranker(), Reranker)

    def test_each_text_has_a_score_that_does_not_depend_on_the_others(self) -> None:
        reranker = self.reranker()
        scores = reranker.rerank("where did Maria move?", self.texts)
        assert scores.shape == (len(self.texts),)
        assert np.isfinite(scores).all()
        order = list(reversed(range(len(self.texts))))
        again = reranker.rerank("where did Maria move?", [self.texts[number] for number in order])
        np.testing.assert_allclose(again, scores[order], atol=1e-3)

    def test_no_texts_give_nothing(self) -> None:
        assert self.reranker().rerank("where?", []).shape == (0,)


class LabellerContract(Contract):
    """Tests that a class of labellers inherits."""

    texts: Sequence[str] = TEXTS

    @abstractmethod
    def labeller(self) -> Labeller:
        """Return a labeller that is ready to be asked."""

    def test_it_is_a_labeller(self) -> None:
        assert isinstance(self.labeller(), Labeller)

    def test_scores_are_probabilities(self) -> None:
        labeller = self.labeller()
        scores = labeller.scores(self.texts)
        assert scores.shape == (len(self.texts), len(labeller.labels))
        assert scores.dtype == np.float32
        assert ((scores >= 0) & (scores <= 1)).all()

    def test_the_labels_given_come_likeliest_first_with_their_scores(self) -> None:
        labeller = self.labeller()
        scores = labeller.scores(self.texts)
        for row, given in zip(scores, labeller.label_many(self.texts), strict=True):
            assert len({each.label for each in given}) == len(given)
            assert [each.score for each in given] == sorted((each.score for each in given), reverse=True)
            for each in given:
                assert abs(row[list(labeller.labels).index(each.label)] - each.score) < 1e-4

    def test_no_texts_give_nothing(self) -> None:
        assert self.labeller().label_many([]) == []


class RegressorContract(Contract):
    """Tests that a class of regressors inherits."""

    texts: Sequence[str] = TEXTS

    @abstractmethod
    def regressor(self) -> Regressor:
        """Return a regressor that is ready to be asked."""

    def test_it_is_a_regressor(self) -> None:
        regressor = self.regressor()
        assert isinstance(regressor, Regressor)
        assert 0 < regressor.coverage < 1

    def test_each_number_lies_in_its_interval(self) -> None:
        found = self.regressor().estimate_many(self.texts)
        assert len(found) == len(self.texts)
        for each in found:
            assert np.isfinite(each.value)
            assert each.low <= each.value <= each.high

    def test_a_text_has_the_number_alone_that_it_has_among_others(self) -> None:
        regressor = self.regressor()
        together = [each.value for each in regressor.estimate_many(self.texts)]
        alone = [regressor.estimate_many([text])[0].value for text in self.texts]
        np.testing.assert_allclose(alone, together, rtol=1e-3, atol=1e-3)

    def test_no_texts_give_nothing(self) -> None:
        assert self.regressor().estimate_many([]) == []
