"""The recipe `financial-sentiment/polarity`: the core's full fine-tuning, with a finance word list as baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mercat.training.base import Evaluation, Run
from mercat.training.classifying.evaluate import evaluate_classifier
from mercat.training.classifying.full import Full
from mercat.values import Example
from mercat_financial_sentiment import wordlist


class Polarity(Full):
    """Fine-tunes the whole encoder on labelled finance sentences; takes the parameters of `full`."""

    def evaluate(self, run: Run, artifact: Path) -> Evaluation:
        """Score a finished artifact on test rows that training never saw, beside the finance word list."""
        return evaluate_classifier(
            self.parts(run), artifact, self.scorer(artifact), progress=run.progress, baseline=_word_list
        )


def _word_list(train: Sequence[Example], rows: Sequence[Example]) -> tuple[str, list[str]]:
    return wordlist.NAME, wordlist.polarity([row.text for row in rows])
