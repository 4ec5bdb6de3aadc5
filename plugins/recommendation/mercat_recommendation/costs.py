"""What training a ranker will cost, from a few people at two cuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from mercat.encoders.base import Encoder
from mercat.training.estimating import Estimate, Trial, encoding_seconds, vectors_mb
from mercat.training.progress import silent
from mercat_recommendation.data import Data
from mercat_recommendation.features import NAMES
from mercat_recommendation.protocol import MOST_USERS, Cuts
from mercat_recommendation.ties import TieSettings
from mercat_recommendation.walk import Walked, Way, learn, walk

_FEW, _SOME = 4, 32  # people of a cut that are listed for; the difference says what one costs


def walk_estimate(
    trial: Trial, encoder: Encoder, data: Data, cuts: Cuts, ways: Sequence[Way], *, settings: TieSettings, seed: int
) -> Estimate:
    """Add what is encoded, walked through and fitted to a trial, and return its estimate.

    Vectors are drawn at random: what they are changes no time.
    """
    texts = [text or " " for text in data.catalogue.texts()]
    trial.stages["encode"] = encoding_seconds(encoder, texts, role="document", clock=trial.clock)
    vectors = np.random.default_rng(seed).standard_normal((len(texts), encoder.dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def walked(at: float, most_users: int, *, scored: bool) -> Walked:
        return walk(
            data,
            vectors,
            [at],
            window_s=cuts.window_s,
            ways=ways,
            scored={at} if scored else (),
            settings=settings,
            seed=seed,
            progress=silent,
            most_users=most_users,
        )

    at, people = cuts.validation[len(cuts.validation) // 2], _people(data, cuts)
    unscored = [*cuts.first, *cuts.test]
    trial.stages["walk"] = sum(
        _extrapolated(
            partial(walked, at, scored=scored), [people[each] for each in times], trial.clock, there=people[at]
        )
        for times, scored in ((cuts.validation, True), (unscored, False))
        if times
    )
    trial.stages["fit"] = _fitting_seconds(walked(at, _SOME, scored=False), cuts, people, ways, trial.clock)
    held_mb = vectors_mb(len(texts), encoder.dimensions)
    blend = len(NAMES)
    parameters = encoder.info().parameters + blend
    return trial.done(parameters=parameters, trainable_parameters=blend, further_mb=held_mb)


def _people(data: Data, cuts: Cuts) -> dict[float, int]:
    """Return for how many people there is a list at each cut."""
    found = {}
    for at in (*cuts.first, *cuts.validation, *cuts.test):
        after = data.log.between(at, at + cuts.window_s)
        found[at] = min(MOST_USERS, len(np.unique(after.user[after.strength > 0])))
    return found


def _extrapolated(
    walked: Callable[[int], Walked], people: Sequence[int], clock: Callable[[], float], *, there: int
) -> float:
    """Return the seconds of cuts with so many people each, from walking one with `there` for a few and for some."""
    walked(1)  # the first one loads what it needs
    took = []
    for count in (_FEW, _SOME):
        started = clock()
        walked(count)
        took.append(clock() - started)
    each = max(took[1] - took[0], 0.0) / max(min(_SOME, there) - _FEW, 1)
    return sum(max(took[0] + each * (count - _FEW), 0.0) for count in people)


def _fitting_seconds(
    walked: Walked, cuts: Cuts, people: dict[float, int], ways: Sequence[Way], clock: Callable[[], float]
) -> float:
    """Return how long blends take to fit: at each scored cut on the choices before it, and once on all."""
    if not walked.choices:
        return 0.0
    started = clock()
    learn(walked.choices, use=ways[-1].use, strength=ways[-1].strength)
    each = (clock() - started) / len(walked.choices)
    blends = len({(way.use, way.strength) for way in ways if way.use != "baseline"})
    before = [sum(people[time] for time in people if time < at) for at in cuts.validation]
    return each * (blends * sum(before) + sum(people.values()))
