"""Spans found by a trained artifact: a fine-tuned body, a tag for each word, the best sequence of tags."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import Artifact, Artifacts
from mercat.artifacts.current import Current
from mercat.encoders.token_states import TokenStates
from mercat.errors import ArtifactError, ConfigError, FingerprintError
from mercat.heads.tags import OUTSIDE, TagHead, entities
from mercat.predictors.base import Span
from mercat.predictors.words import Window, WordPieces, Words, split_words

HEAD, ENCODER = "head", "encoder"
_LONGEST = 1_000_000  # characters: what lies behind is not read


class TrainedTagger:
    """Finds the spans that the current version of `artifact`, made by the recipe `tokens`, has learned.

    A span is given where each of its words' tags is at least `threshold` likely. The artifact is opened on the first
    question, its weights with it; `warm_up` does that beforehand. Safe to ask from several threads. Raises ConfigError
    for a threshold that is no probability.
    """

    def __init__(self, artifacts: Artifacts, *, artifact: str, threshold: float = 0.0, device: str = "auto") -> None:
        if not 0.0 <= threshold <= 1.0:
            asked = f"The tagger '{artifact}' has threshold {threshold}"
            raise ConfigError(asked, "It is a probability", "threshold = 0.5")
        self._threshold = threshold
        self._current = Current(artifacts, artifact, load=lambda found: TagScorer.of(found, device=device))

    @property
    def labels(self) -> Sequence[str]:
        """The labels that a span can have. Opens the artifact."""
        return labels_of(self._current.get().head.tags)

    @property
    def version(self) -> str:
        """The version of the artifact that answers now."""
        return self._current.version

    def warm_up(self) -> None:
        """Open the artifact and load the weights now."""
        self._current.get().warm_up()

    def reload(self) -> bool:
        """Take over the artifact's current version if it is another one; say whether it was."""
        return self._current.reload()

    def tag_many(self, texts: Sequence[str]) -> list[list[Span]]:
        """Return the spans of each text in order; their offsets are those of the text as it was given."""
        scorer = self._current.get()  # once: a reload in between must not mix two versions
        words = [split_words(text[:_LONGEST]) for text in texts]
        found = scorer.scores([text[:_LONGEST] for text in texts], words)
        return [
            [span for span in scorer.spans(*each) if span.score >= self._threshold]
            for each in zip(texts, words, found, strict=True)
        ]


class TagScorer:
    """What the folder of an artifact answers with. Safe between threads. Raises FingerprintError for another body."""

    def __init__(self, folder: Path, *, device: str = "auto") -> None:
        self.head = TagHead.load(folder / HEAD)
        self._body = TokenStates(folder / ENCODER, shapes=self.head.shapes, device=device)
        encoder = self._body.encoder
        if encoder.fingerprint != self.head.fingerprint:
            raise FingerprintError(
                f"The head in {folder.name} was fitted on '{self.head.fingerprint}'",
                f"The encoder beside it is '{encoder.fingerprint}'",
                "mercat artifacts rollback, or train again",
            )
        self._lock = threading.Lock()
        self._pieces: WordPieces | None = None

    @classmethod
    def of(cls, artifact: Artifact, *, device: str = "auto") -> TagScorer:
        """Return what an artifact answers with. Raises ArtifactError for one that tags nothing."""
        if artifact.kind != "tagger":
            found = f"'{artifact.name}' is of kind '{artifact.kind}', made by '{artifact.recipe}'"
            raise ArtifactError("A tagger was expected", found, "use = 'tokens' in its section of [recipes]")
        return cls(artifact.folder, device=device)

    def warm_up(self) -> None:
        """Load the weights now."""
        self._body.warm_up()

    def scores(self, texts: Sequence[str], words: Sequence[Words]) -> list[NDArray[np.float32]]:
        """Return, per text, calibrated probabilities of its words' tags, in shape (words, tags)."""
        return [self.head.probabilities(logits) for logits in self.logits(texts, words)]

    def logits(self, texts: Sequence[str], words: Sequence[Words]) -> list[NDArray[np.float32]]:
        """Return, per text, what the head says of its words before calibration, in shape (words, tags)."""
        windows = [(row, window) for row, each in enumerate(self._windows(texts, words)) for window in each]
        found = [np.zeros((len(each), len(self.head.tags)), dtype=np.float32) for each in words]
        states = self._body.at(
            [window.ids for _, window in windows],
            [window.places for _, window in windows],
            kinds=[window.kinds for _, window in windows],
        )
        for (row, window), vectors in zip(windows, states, strict=True):
            found[row][window.first : window.first + len(vectors)] = self.head.logits(vectors)
        return found

    def tags(self, scores: NDArray[np.float32]) -> list[str]:
        """Return the best sequence of tags for the scores of one text, shape (words, tags)."""
        return [self.head.tags[number] for number in self.head.decode(scores)]

    def spans(self, text: str, words: Words, scores: NDArray[np.float32]) -> list[Span]:
        """Return the spans of one text from the scores of its words, shape (words, tags)."""
        numbers = self.head.decode(scores)
        sure = scores[np.arange(len(numbers)), numbers]
        found = []
        for first, last, label in entities([self.head.tags[number] for number in numbers]):
            start, end = words[first][0], words[last - 1][1]
            found.append(Span(start, end, label, float(sure[first:last].min()), text[start:end]))
        return found

    def _windows(self, texts: Sequence[str], words: Sequence[Words]) -> list[list[Window]]:
        with self._lock:
            if self._pieces is None:
                encoder = self._body.encoder
                self._pieces = WordPieces(
                    self._body.tokenizer, max_tokens=encoder.max_tokens, lower_case=encoder.checkpoint.lower_case
                )
            return [self._pieces.windows(text, each) for text, each in zip(texts, words, strict=True)]


def labels_of(tags: Sequence[str]) -> tuple[str, ...]:
    """Return the labels behind BIO tags, sorted."""
    return tuple(sorted({tag[2:] for tag in tags if tag != OUTSIDE}))
