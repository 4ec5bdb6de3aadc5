"""Walk through the cuts in the order of time: at each, list with what is known by then, then learn from it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import load_arrays, save_arrays
from mercat.training.base import Progress
from mercat_recommendation.data import Data
from mercat_recommendation.features import NAMES, SHARED
from mercat_recommendation.listing import Listing
from mercat_recommendation.protocol import MOST_USERS, Outcome, cases
from mercat_recommendation.ranker import Blend, Choice, choice, fit_blend, popularity_blend
from mercat_recommendation.ties import TieSettings

BASELINE = "popular in the last 7 days"
COLD = "without history"
_LEFT = 300  # items left alone that a choice is compared with


@dataclass(frozen=True, slots=True)
class Way:
    """A way of listing that validation may choose; `use` is "baseline", "popular" or "all" features."""

    use: str = "all"
    strength: float = 0.01
    places: int = 0
    diversity: float = 0.0

    @property
    def name(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    def listing(self, blends: _Blends) -> Listing:
        """Return the listing with the blend learned so far."""
        return Listing(blends.get(self.use, self.strength), self.places, self.diversity)


class _Blends:
    """Blends fitted on the choices so far, each once."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        self._choices, self._kept = choices, dict[tuple[str, float], Blend]()

    def get(self, use: str, strength: float) -> Blend:
        key = (use, strength)
        if key not in self._kept:
            self._kept[key] = learn(self._choices, use=use, strength=strength)
        return self._kept[key]


def learn(choices: Sequence[Choice], *, use: str, strength: float) -> Blend:
    """Return the blend of a way; without choices to learn from, popularity."""
    if use == "baseline" or not choices:
        return popularity_blend()
    return fit_blend(choices, strength=strength, use=NAMES if use == "all" else SHARED)


@dataclass(slots=True)
class Walked:
    """What a walk brought: outcomes by way's name, BASELINE and COLD, and all choices to learn from."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)


def walk(
    data: Data,
    vectors: NDArray[np.float32],
    times: Sequence[float],
    *,
    window_s: float,
    ways: Sequence[Way],
    scored: Collection[float],
    settings: TieSettings,
    seed: int,
    progress: Progress,
    keep: Path | None = None,
    most_users: int = MOST_USERS,
) -> Walked:
    """Go through `times`; the ways are scored at those in `scored`. A cut that is done is kept in
    the folder `keep` and read from there the next time; at each, `most_users` are listed for."""
    found = Walked()
    for number, at in enumerate(times):
        place = keep / f"{number:03d}" if keep else None
        step = _load(place) if place else None
        if step is None:
            tried = ways if at in scored else ()
            step = _step(data, vectors, at, window_s, tried, found.choices, settings, seed, most_users)
            if place:
                _save(place, step)
        found.choices += step.choices
        for name, outcome in step.outcomes.items():
            _extend(found.outcomes.setdefault(name, Outcome()), outcome)
        progress("cuts", number + 1, len(times))
    return found


def _step(
    data: Data,
    vectors: NDArray[np.float32],
    at: float,
    window_s: float,
    ways: Sequence[Way],
    known: Sequence[Choice],
    settings: TieSettings,
    seed: int,
    most_users: int,
) -> Walked:
    found, blends = Walked(), _Blends(known)
    listings = {way.name: way.listing(blends) for way in ways}
    usual = Listing(popularity_blend())
    people = cases(
        data.log,
        data.catalogue,
        vectors,
        at=at,
        window_s=window_s,
        settings=settings,
        seed=seed,
        cold=bool(ways),
        most_users=most_users,
    )
    for case in people:
        if not len(case.history.seen):
            found.outcomes.setdefault(COLD, Outcome()).add(case, usual, vectors)
            continue
        for name, listing in ({**listings, BASELINE: usual} if ways else {}).items():
            found.outcomes.setdefault(name, Outcome()).add(case, listing, vectors)
        rng = np.random.default_rng([seed, int(at), case.user])
        found.choices.append(choice(case.features, case.open, case.taken, left=_LEFT, rng=rng))
    return found


def _extend(one: Outcome, other: Outcome) -> None:
    for name in ("users", "histories", "lists", "gains", "ideal"):
        getattr(one, name).extend(getattr(other, name))


def _save(place: Path, step: Walked) -> None:
    arrays = {
        f"{name}.{number}": getattr(each, name)
        for number, each in enumerate(step.choices)
        for name in ("features", "taken", "offset")
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    if arrays:
        save_arrays(place.with_suffix(".safetensors"), arrays)
    rows: dict[str, Any] = {name: _plain(outcome) for name, outcome in step.outcomes.items()}
    temporary = place.with_suffix(".new")
    temporary.write_text(json.dumps({"choices": len(step.choices), "outcomes": rows}), encoding="utf-8")
    temporary.replace(place.with_suffix(".json"))  # last: a cut without it was not finished


def _load(place: Path) -> Walked | None:
    done = place.with_suffix(".json")
    if not done.is_file():
        return None
    read: Mapping[str, Any] = json.loads(done.read_text(encoding="utf-8"))
    arrays = load_arrays(place.with_suffix(".safetensors")) if read["choices"] else {}
    choices = [
        Choice(arrays[f"features.{number}"], arrays[f"taken.{number}"], arrays[f"offset.{number}"])
        for number in range(read["choices"])
    ]
    outcomes = {name: _outcome(rows) for name, rows in read["outcomes"].items()}
    return Walked(outcomes, choices)


def _plain(outcome: Outcome) -> dict[str, Any]:
    return {
        "users": outcome.users,
        "histories": outcome.histories,
        "lists": [numbers.tolist() for numbers in outcome.lists],
        "gains": outcome.gains,
        "ideal": outcome.ideal,
    }


def _outcome(rows: Mapping[str, Any]) -> Outcome:
    lists = [np.array(numbers, dtype=np.int64) for numbers in rows["lists"]]
    return Outcome(rows["users"], rows["histories"], lists, rows["gains"], rows["ideal"])
