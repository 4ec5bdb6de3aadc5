"""How two texts belong together, by a trained artifact that reads both at once (a cross-encoder)."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import Artifact, Artifacts
from mercat.artifacts.current import Current
from mercat.encoders.base import Vectors
from mercat.encoders.token_states import TokenStates
from mercat.encoders.transformer import Transformer
from mercat.errors import ArtifactError, FingerprintError
from mercat.heads import LinearHead
from mercat.heads.numbers import NumberHead
from mercat.predictors.base import Match
from mercat.predictors.pair_pieces import Pair, PairPieces

HEAD, ENCODER, PAIRS = "head", "encoder", "pairs.json"


class TrainedMatcher:
    """Says of two texts what the current version of `artifact`, made by the recipe `pairs`, has learned to say.

    It is a reranker as well. A pair costs a pass of its own through the body, so search first and ask it about what was
    found. The artifact is opened on the first question, its weights with it; `warm_up` does that beforehand. Safe to
    ask from several threads.
    """

    def __init__(self, artifacts: Artifacts, *, artifact: str, device: str = "auto") -> None:
        self._current = Current(artifacts, artifact, load=lambda found: PairScorer.of(found, device=device))

    @property
    def labels(self) -> Sequence[str]:
        """The labels that a pair can have; none where it is given a number. Opens the artifact."""
        return self._current.get().labels

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

    def scores(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Return shape (len(pairs),): the probability that two texts belong together, or the number learned."""
        scorer = self._current.get()
        return scorer.scores(scorer.vectors(pairs))

    def match_many(self, pairs: Sequence[Pair]) -> list[Match]:
        """Return one Match per pair."""
        scorer = self._current.get()
        vectors = scorer.vectors(pairs)
        labels = scorer.best(vectors) if scorer.labels else [""] * len(pairs)
        return [Match(label, float(score)) for label, score in zip(labels, scorer.scores(vectors), strict=True)]

    def rerank(self, query: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return shape (len(texts),): how well each text answers the query, higher is better."""
        return self.scores([(query, text) for text in texts])


class PairScorer:
    """What the folder of an artifact answers with. Safe between threads. Raises FingerprintError for another body."""

    def __init__(self, folder: Path, *, device: str = "auto") -> None:
        self.positive = str(json.loads((folder / PAIRS).read_text(encoding="utf-8"))["positive"])
        self.head = LinearHead.load(folder / HEAD) if self.positive else NumberHead.load(folder / HEAD)
        self._body = TokenStates(folder / ENCODER, device=device)
        if self._body.encoder.fingerprint != self.head.fingerprint:
            raise FingerprintError(
                f"The head in {folder.name} was fitted on '{self.head.fingerprint}'",
                f"The encoder beside it is '{self._body.encoder.fingerprint}'",
                "mercat artifacts rollback, or train again",
            )
        self._lock = threading.Lock()
        self._pieces: PairPieces | None = None

    @classmethod
    def of(cls, artifact: Artifact, *, device: str = "auto") -> PairScorer:
        """Return what an artifact answers with. Raises ArtifactError for one that reads no pairs."""
        if artifact.kind != "matcher":
            found = f"'{artifact.name}' is of kind '{artifact.kind}', made by '{artifact.recipe}'"
            raise ArtifactError("A matcher was expected", found, "use = 'pairs' in its section of [recipes]")
        return cls(artifact.folder, device=device)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that a pair can have; none where it is given a number."""
        return self.head.labels if isinstance(self.head, LinearHead) else ()

    def warm_up(self) -> None:
        """Load the weights now."""
        self._body.warm_up()

    def vectors(self, pairs: Sequence[Pair]) -> Vectors:
        """Return a vector per pair. The shape is (pairs, dimensions)."""
        with self._lock:
            self._pieces = self._pieces or pieces_of(self._body.encoder, self._body.tokenizer)
            ids, types = self._pieces.rows(pairs)
        return self._body.pooled(ids, types=types)

    def scores(self, vectors: Vectors) -> NDArray[np.float32]:
        """Return the probability of the positive label, or the number, for each vector. The shape is (pairs,)."""
        if isinstance(self.head, NumberHead):
            return self.head.values(vectors)
        return self.head.scores(vectors)[:, self.head.labels.index(self.positive)]

    def best(self, vectors: Vectors) -> list[str]:
        """Return the likeliest label of each vector."""
        return [self.labels[number] for number in self.probabilities(vectors).argmax(axis=1)]

    def probabilities(self, vectors: Vectors) -> NDArray[np.float32]:
        """Return calibrated probabilities of `labels`, shape (pairs, labels)."""
        assert isinstance(self.head, LinearHead)
        return self.head.scores(vectors)


def pieces_of(encoder: Transformer, tokenizer: Any) -> PairPieces:
    """Return what makes the token ids of pairs for an encoder's body."""
    checkpoint = encoder.checkpoint
    return PairPieces(
        tokenizer,
        max_tokens=encoder.max_tokens,
        lower_case=checkpoint.lower_case,
        types=int(checkpoint.config.get("type_vocab_size") or 0) > 1,
    )


def save_positive(folder: Path, positive: str) -> None:
    """Keep which label says that two texts belong together; "" where they are given a number."""
    (folder / PAIRS).write_text(json.dumps({"positive": positive}, ensure_ascii=False), encoding="utf-8")
