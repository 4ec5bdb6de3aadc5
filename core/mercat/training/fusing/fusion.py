"""The recipe `fusion`: how much the legs of a hybrid retriever count, learned from questions with their right rows."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np

from mercat.artifacts import ArtifactWriter
from mercat.errors import ConfigError, DataError
from mercat.evaluation.base import Metric
from mercat.evaluation.bootstrap import paired
from mercat.evaluation.ranking import ndcg, ranking
from mercat.retrieval import Retriever
from mercat.retrieval.fused import Fused
from mercat.retrieval.fusion import Table, reciprocal_rank_fusion
from mercat.retrieval.learned import Learned
from mercat.training.base import Evaluation, Report, Run
from mercat.training.data import Parts, check_shares, part_examples, read_examples, unseen_test_rows
from mercat.training.estimating import Estimate, Trial, sampled_seconds
from mercat.training.fusing.weights import Asked, fit_weights
from mercat.training.publishing import publish
from mercat.values import Example

LEAST = 50


class Fusion:
    """Learns the weights of a `hybrid` retriever: one for each leg, summing to 1, that put the right rows first.

    An example is a question (`text`) with the id of a row that answers it (`label`); a question with several right rows
    is several examples. The weights are those with the best nDCG@k on the train part, and on it never below the best
    leg alone, as one leg alone is among what is tried. The retriever's section then names the artifact. Raises
    ConfigError for a retriever without legs, DataError for fewer than `least` questions to learn from.
    """

    kind = "fusion"

    def __init__(
        self,
        retriever: Retriever,
        *,
        collection: str,
        k: int = 10,
        least: int = LEAST,
        validation_share: float = 0.2,
        test_share: float = 0.2,
        split: Literal["auto", "group", "time"] = "auto",
        seed: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        check_shares(validation_share=validation_share, test_share=test_share)
        if not isinstance(retriever, Fused):
            found = f"{type(retriever).__name__} has one ranking alone"
            raise ConfigError("The recipe 'fusion' weighs the legs of a retriever", found, "a hybrid as its retriever")
        if k < 1:
            raise ConfigError(f"k = {k}", "Hits are counted from 1", "k = 10")
        self.retriever, self.collection, self.k, self.least, self.seed = retriever, collection, k, least, seed
        self.validation_share, self.test_share, self.split = validation_share, test_share, split
        self._monotonic = monotonic

    def rows(self, run: Run) -> Parts:
        """Read the collection in its parts; all rows of a question are in one."""
        read = [row for row in read_examples(run.store, self.collection) if row.text.strip() and row.label]
        rows = _of_one_age(read)
        return part_examples(
            rows,
            self.collection,
            labels_of=lambda row: (),
            by_label=False,
            validation_share=self.validation_share,
            test_share=self.test_share,
            split=self.split,
            seed=run.seed,
            least=0,
        )

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Choose the weights on the train part, and say what they bring on the validation part.

        Raises DataError for too few questions.
        """
        started, parts = self._monotonic(), self.rows(run)
        questions = len({row.text for row in parts.train})
        if questions < self.least:
            raise DataError(
                f"Weights of a fusion need {self.least} questions with their right rows, in '{self.collection}'",
                f"Its train part has {questions}",
                "more questions, or the hybrid without an artifact: its own weights need none",
            )
        train, validation = self._asked(run, parts.train, "train"), self._asked(run, parts.validation, "validation")
        weights = fit_weights(train, k=self.k)
        spaces = self.retriever.spaces()
        Learned(tuple(weights), tuple(spaces)).save(writer.folder)
        report = Report(
            metrics=self._figures(validation, [one.gains(weights) for one in validation]),
            counts={
                **parts.counts,
                "questions": questions,
                "parameters": len(weights),
                "trainable_parameters": len(weights),
            },
            seconds=self._monotonic() - started,
            notes=[*parts.notes, *self._notes(train + validation)],
            details={"weights": weights, "train": self._beside(train, weights), "legs": self._names()},
        )
        return publish(writer, report, parts, fingerprint=spaces[0])

    def estimate(self, run: Run) -> Estimate:
        """Return what `train` would cost: to ask every leg the questions. To try all weights costs next to nothing."""
        trial, parts = Trial(self._monotonic), self.rows(run)
        trial.read()
        texts, depth = list({row.text for row in (*parts.train, *parts.validation)}), self.retriever.depth
        trial.stages["search"] = sampled_seconds(
            lambda some: self.retriever.legs_many(some, k=depth), texts, clock=trial.clock
        )
        legs = len(self.retriever.retrievers)
        return trial.done(parameters=legs, trainable_parameters=legs)

    def evaluate(self, run: Run, artifact: Path) -> Evaluation:
        """Score learned weights on questions that training never saw, beside the best leg of those that it saw."""
        parts, weights = self.rows(run), Learned.load(artifact).weights
        rows = unseen_test_rows(parts, artifact)
        seen, asked = self._asked(run, [*parts.train, *parts.validation], "seen"), self._asked(run, rows, "test")
        best = int(np.argmax([self._mean([one.leg_gains(leg) for one in seen], seen) for leg in self._legs()]))
        ours, theirs = [one.gains(weights) for one in asked], [one.leg_gains(best) for one in asked]
        ideal = _ideal(asked)
        between = paired(ndcg(ours, ideal, k=self.k), ndcg(theirs, ideal, k=self.k))
        return Evaluation(
            metrics=self._figures(asked, ours),
            baseline=f"{self._names()[best]} alone",
            baseline_metrics=self._figures(asked, theirs),
            differences={f"ndcg@{self.k}": between},
            counts={"test": len(rows), "questions": len(asked), "left_out_as_seen": len(parts.test) - len(rows)},
            notes=self._notes(asked),
        )

    def _asked(self, run: Run, rows: Sequence[Example], stage: str) -> list[Asked]:
        """Ask each leg the questions of these rows."""
        right: defaultdict[str, set[str]] = defaultdict(set)
        for row in rows:
            right[row.text].add(row.label)
        texts, found = list(right), []
        for start in range(0, len(texts), 64):
            run.progress(f"searching, {stage}", start, len(texts))
            some, depth = texts[start : start + 64], self.retriever.depth
            for text, legs in zip(some, self.retriever.legs_many(some, k=depth), strict=True):
                ids = [[hit.id for hit in leg] for leg in legs]
                found.append(Asked(Table.of(legs, asked=depth), frozenset(right[text]), ids))
        run.progress(f"searching, {stage}", len(texts), len(texts))
        return found

    def _figures(self, asked: Sequence[Asked], gains: Sequence[Sequence[float]]) -> dict[str, Metric]:
        return ranking(gains, _ideal(asked), k=self.k)

    def _beside(self, asked: Sequence[Asked], weights: Sequence[float]) -> dict[str, float]:
        """Return the mean nDCG of the weights, of each leg alone, and of reciprocal ranks."""
        ranks = [[float(key in one.right) for key, _ in reciprocal_rank_fusion(one.legs)] for one in asked]
        legs = {
            name: self._mean([one.leg_gains(leg) for one in asked], asked)
            for leg, name in zip(self._legs(), self._names(), strict=True)
        }
        return {
            "learned": self._mean([one.gains(weights) for one in asked], asked),
            "reciprocal ranks": self._mean(ranks, asked),
            **legs,
        }

    def _mean(self, gains: Sequence[Sequence[float]], asked: Sequence[Asked]) -> float:
        return float(np.mean(ndcg(gains, _ideal(asked), k=self.k)))

    def _legs(self) -> range:
        return range(len(self.retriever.retrievers))

    def _names(self) -> list[str]:
        return [type(leg).__name__.lower() for leg in self.retriever.retrievers]

    def _notes(self, asked: Sequence[Asked]) -> list[str]:
        missed = sum(not one.right.intersection(one.table.ids) for one in asked)
        if not missed:
            return []
        return [
            f"Of {missed} of {len(asked)} questions no right row is among the first {self.retriever.depth} of any leg"
        ]


def _ideal(asked: Sequence[Asked]) -> list[list[float]]:
    return [[1.0] * len(one.right) for one in asked]


def _of_one_age(rows: Sequence[Example]) -> list[Example]:
    """Return the rows with the time of the first of their question, so that a split by time parts no question."""
    first: dict[str, datetime] = {}
    for row in rows:
        if row.at is not None:
            first[row.text] = min(first.get(row.text, row.at), row.at)
    return [replace(row, at=first[row.text]) if row.at is not None else row for row in rows]
