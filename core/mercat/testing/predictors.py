"""What everything must do that says more of texts than one label. Inherit a contract and give it such a part."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from mercat.predictors.base import Tagger
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
