"""The recipe `recommendation/ranker`: from a catalogue and events to a ranker, every choice made on validation cuts."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import ArtifactWriter
from mercat.encoders.base import Encoder
from mercat.errors import ConfigError
from mercat.training.base import Evaluation, Report, Run
from mercat.training.estimating import Estimate, Trial
from mercat.training.report import save_report
from mercat_recommendation.costs import walk_estimate
from mercat_recommendation.data import Data, read_data
from mercat_recommendation.item_vectors import encode_kept
from mercat_recommendation.model import RankModel, hit_rates
from mercat_recommendation.protocol import Cuts, Outcome, cut_times, difference
from mercat_recommendation.ties import Ties, TieSettings
from mercat_recommendation.walk import BASELINE, COLD, Walked, Way, learn, walk

_STRENGTHS = (0.003, 0.01, 0.05)
_PLACES = (0, 1, 2, 3)


class Ranker:
    """Learns which items users take next from text, ties between items, popularity and price, as of each moment.

    `collection` holds the events, `catalogue` the items (documents with title, text, and
    `category`, `price`, `stock` as metadata).
    The events are cut in windows of `window_days`: blends are chosen on the middle windows, `evaluate` reads the last
    ones. `coverage` is the share of the catalogue that lists should reach on validation; up to three of ten places
    go to discovery for it. `diversity` in [0, 1] trades score against likeness. `ease_strength` and `most_items`: see
    TieSettings. The shipped model is fitted once more on all events with the chosen way. Raises ConfigError for a
    window or a diversity out of range.
    """

    kind = "ranker"

    def __init__(
        self,
        encoder: Encoder,
        *,
        collection: str,
        catalogue: str,
        window_days: float = 7.0,
        coverage: float = 0.25,
        diversity: float = 0.0,
        ease_strength: float = 300.0,
        most_items: int = 8_000,
        seed: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if window_days <= 0 or not 0 <= diversity <= 1:
            found = f"window_days = {window_days:g}, diversity = {diversity:g}"
            raise ConfigError("A ranker needs a window above 0 and a diversity from 0 to 1", found, "window_days = 7")
        self.encoder, self.collection, self.catalogue = encoder, collection, catalogue
        self.window_days, self.coverage, self.diversity, self.seed = window_days, coverage, diversity, seed
        self.settings = TieSettings(ease_strength=ease_strength, most_items=most_items)
        self._monotonic = monotonic

    def train(self, run: Run, writer: ArtifactWriter) -> Report:
        """Choose on the validation cuts, fit on all events, write the model. A killed run goes on at its last cut."""
        started, data = self._monotonic(), self._data(run)
        vectors, cuts = self._vectors(run, data), cut_times(data.log, window_days=self.window_days)
        walked = self._walk(run, data, vectors, cuts, self._ways(), cuts.validation, run.scratch)
        way = self._chosen(walked, len(data.catalogue))
        model = self._model(run, data, vectors, way, walked)
        model.save(writer.folder)
        writer.data_digest, writer.encoder_fingerprint = data.digest, self.encoder.fingerprint
        report = self._report(data, walked, way, self._monotonic() - started, run.seed)
        writer.metrics.update(report.metrics)
        save_report(writer.folder, report)
        return report

    def estimate(self, run: Run) -> Estimate:
        """Return what `train` would cost, from encoding some items and listing for a few people."""
        trial, data = Trial(self._monotonic), self._data(run)
        cuts = cut_times(data.log, window_days=self.window_days)
        trial.read()
        ways = self._ways()
        return walk_estimate(trial, self.encoder, data, cuts, ways, settings=self.settings, seed=run.seed)

    def evaluate(self, run: Run, artifact: Path) -> Evaluation:
        """Score the chosen way on the test cuts, refitted at each on what came before, beside popularity."""
        data, model = self._data(run), RankModel.load(artifact)
        vectors, cuts = self._vectors(run, data), cut_times(data.log, window_days=self.window_days)
        walked = self._walk(run, data, vectors, cuts, (model.way,), cuts.test, None)
        ours, theirs = walked.outcomes.get(model.way.name, Outcome()), walked.outcomes.get(BASELINE, Outcome())
        size = len(data.catalogue)
        cold = walked.outcomes.get(COLD, Outcome())
        return Evaluation(
            metrics=ours.metrics(size, seed=run.seed),
            baseline=BASELINE,
            baseline_metrics=theirs.metrics(size, seed=run.seed),
            differences=difference(ours, theirs, seed=run.seed),
            counts={"cuts": len(cuts.test), "lists": len(ours.users), "users": len(set(ours.users)), "items": size},
            notes=[*_left_out(data), f"{len(cold.users)} users without history got the baseline and are not counted"],
        )

    def _data(self, run: Run) -> Data:
        return read_data(run.store, catalogue=self.catalogue, events=self.collection)

    def _vectors(self, run: Run, data: Data) -> NDArray[np.float32]:
        return encode_kept(self.encoder, data.catalogue.texts(), folder=run.scratch, progress=run.progress)

    def _ways(self) -> list[Way]:
        blends = [Way("all", strength, places, self.diversity) for strength in _STRENGTHS for places in _PLACES]
        return [Way("baseline"), Way("popular"), *blends]

    def _walk(
        self,
        run: Run,
        data: Data,
        vectors: NDArray[np.float32],
        cuts: Cuts,
        ways: Sequence[Way],
        scored: Sequence[float],
        scratch: Path | None,
    ) -> Walked:
        return walk(
            data,
            vectors,
            [*cuts.first, *cuts.validation, *cuts.test],
            window_s=cuts.window_s,
            ways=ways,
            scored=frozenset(scored),
            settings=self.settings,
            seed=run.seed,
            progress=run.progress,
            keep=scratch / f"cuts-{self._key(data, cuts, run)}" if scratch else None,
        )

    def _key(self, data: Data, cuts: Cuts, run: Run) -> str:
        """Name what kept cuts depend on, so that a run with other data or parameters does not take them up."""
        names = [way.name for way in self._ways()]
        parts = (data.digest, self.encoder.fingerprint, self.settings.as_dict(), cuts, names, run.seed)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def _chosen(self, walked: Walked, items: int) -> Way:
        """Take the best blend by nDCG on validation, then as many places for discovery as coverage asks for."""
        mean = {way: _mean(walked.outcomes.get(way.name)) for way in self._ways()}
        best = max((way for way in mean if way.places == 0), key=lambda way: mean[way])
        if best.use != "all":
            return best
        for places in _PLACES:
            way = Way("all", best.strength, places, self.diversity)
            if walked.outcomes[way.name].coverage(items) >= self.coverage:
                return way
        return way

    def _model(self, run: Run, data: Data, vectors: NDArray[np.float32], way: Way, walked: Walked) -> RankModel:
        return RankModel(
            way,
            learn(walked.choices, use=way.use, strength=way.strength),
            Ties.fit(data.log, vectors, settings=self.settings, seed=run.seed),
            tuple(item.id for item in data.catalogue.items),
            tuple(data.catalogue.texts()),
            vectors,
            hit_rates(*(walked.outcomes.get(name, Outcome()) for name in (way.name, COLD, BASELINE))),
        )

    def _report(self, data: Data, walked: Walked, way: Way, seconds: float, seed: int) -> Report:
        ours, theirs = walked.outcomes.get(way.name, Outcome()), walked.outcomes.get(BASELINE, Outcome())
        metrics = ours.metrics(len(data.catalogue), seed=seed)
        metrics["ndcg@10 - popular"] = difference(ours, theirs, seed=seed)["ndcg@10"]
        chosen = f"chosen on validation: {way.use} features, penalty {way.strength:g}, {way.places} places of discovery"
        return Report(
            metrics=metrics,
            counts={
                "items": len(data.catalogue),
                "users": len(data.log.users),
                "events": len(data.log),
                "choices": len(walked.choices),
                "validation": len(ours.users),
            },
            seconds=seconds,
            notes=[chosen, *_left_out(data)],
            details={
                "popular": {name: each.value for name, each in theirs.metrics(len(data.catalogue), seed=seed).items()}
            },
        )


def _mean(outcome: Outcome | None) -> float:
    found = outcome.ndcg() if outcome else []
    return sum(found) / len(found) if found else 0.0


def _left_out(data: Data) -> list[str]:
    return [f"{count} events left out: {reason}" for reason, count in sorted(data.rejected.items())]
