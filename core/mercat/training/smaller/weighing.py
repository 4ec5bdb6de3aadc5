"""What a classifier costs: how many texts it scores in a second, and how much lies on the disk for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mercat.encoders.exported import GRAPHS, TOKENIZER
from mercat.encoders.transformer import Transformer
from mercat.training.classifying.classifier import Scorer

_MOST = 1000  # texts that are timed
_WARM = 32


def texts_per_s(
    scores: Callable[[Sequence[str]], object], texts: Sequence[str], *, clock: Callable[[], float]
) -> float:
    """Return how many of these texts are scored in a second, once the weights are loaded.

    A space is put behind each text: it changes no score, and no cache remembers such a text.
    """
    scores(texts[:_WARM])
    fresh = [f"{text} " for text in texts[:_MOST]]
    started = clock()
    scores(fresh)
    return len(fresh) / max(clock() - started, 1e-9)


def megabytes(encoder: Transformer) -> float:
    """Return how much lies on the disk for an encoder, weights and tokenizer, in MB of a million bytes."""
    checkpoint = encoder.checkpoint
    graphs = [checkpoint.folder / name for name in GRAPHS.get(checkpoint.exported, ())]
    files = [*checkpoint.weights, *graphs, checkpoint.folder / TOKENIZER]
    return sum(file.stat().st_size for file in files) / 1e6


def same(scorer: Scorer, labels: Sequence[str], texts: Sequence[str]) -> float:
    """Return the share of texts whose best label is the one given."""
    guessed = [scorer.labels[at] for at in scorer.scores(texts).argmax(axis=1)]
    return float(np.mean(np.array(guessed) == np.array(labels)))
