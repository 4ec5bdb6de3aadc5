"""The honest test: a rolling global time split, every item ranked, what was seen removed, nothing from the future.

At each cut the ties are learned from the events before it, the blend from earlier cuts whose windows had ended by then,
and whoever has events before and in the window after the cut is scored on the items that were new to them there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mercat.errors import DataError
from mercat.evaluation import Metric, interval, ndcg, paired
from mercat_recommendation.catalogue import Catalogue
from mercat_recommendation.events import DAY_S, Log
from mercat_recommendation.features import History, both, personal_many, popular
from mercat_recommendation.listing import Listing
from mercat_recommendation.ties import Ties, TieSettings

K = 10
MOST_USERS = 2_000  # at one cut; others are left out by chance
_AT_ONCE = 32  # users whose features are held in memory
_WARM_UP = 3  # windows of history before the first cut


@dataclass(frozen=True, slots=True)
class Cuts:
    """Unix seconds: `first` ones to learn blends from, `validation` to choose on, `test` to be read once."""

    first: Sequence[float]
    validation: Sequence[float]
    test: Sequence[float]
    window_s: float


def cut_times(log: Log, *, window_days: float, most: int = 60) -> Cuts:
    """Return cuts one window apart, the last one a window before the end; two fifths are test, three tenths validation.

    Raises DataError when there are fewer than ten, five of them for the test.
    """
    window = window_days * DAY_S
    span = float(log.at[-1] - log.at[0]) if len(log) else 0.0
    count = min(most, int(span // window) - _WARM_UP)
    if count < 10:
        raise DataError(
            f"A rolling time split in windows of {window_days:g} days needs {10 + _WARM_UP} windows",
            f"{len(log)} events over {span / DAY_S:.1f} days",
            f"window_days = {max(span / DAY_S / (14 + _WARM_UP), 0.01):.2g}, or more events",
        )
    end = float(log.at[-1]) + 1.0
    cuts = [end - window * (count - number) for number in range(count)]
    test, validation = max(5, round(0.4 * count)), max(3, round(0.3 * count))
    return Cuts(cuts[: -test - validation], cuts[-test - validation : -test], cuts[-test:], window)


@dataclass(frozen=True, slots=True)
class Case:
    """One user at one cut.

    `features` has shape (items, NAMES); `open` (what they had not seen) and `taken` (what they took in the window after
    the cut) have shape (items,).
    """

    user: int
    history: History
    features: NDArray[np.float32]
    open: NDArray[np.bool_]
    taken: NDArray[np.bool_]


def cases(
    log: Log,
    catalogue: Catalogue,
    vectors: NDArray[np.float32],
    *,
    at: float,
    window_s: float,
    settings: TieSettings,
    seed: int,
    cold: bool = False,
    most_users: int = MOST_USERS,
) -> Iterator[Case]:
    """Yield the users with events before `at` and new items in the window after it; with `cold` also those without."""
    before, after = log.before(at), log.between(at, at + window_s)
    ties = Ties.fit(before, vectors, settings=settings, seed=seed)
    shared = popular(before, catalogue, at=at)
    rows = before.by_user()
    users = sorted(user for user in np.unique(after.user[after.strength > 0]).tolist() if cold or user in rows)
    if len(users) > most_users:
        users = sorted(np.random.default_rng(seed).choice(users, most_users, replace=False).tolist())
    none = np.zeros(0, dtype=np.int64)
    for start in range(0, len(users), _AT_ONCE):
        some = users[start : start + _AT_ONCE]
        histories = [History.of(before, rows.get(user, none)) for user in some]
        own = personal_many(histories, ties, catalogue, vectors)
        for user, history, features in zip(some, histories, own, strict=True):
            open_, taken = _choices(user, history, after, len(catalogue))
            if taken.any():
                yield Case(user, history, both(shared, features), open_, taken)


def _choices(user: int, history: History, after: Log, items: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which items somebody had not seen, and which of those they took after the cut."""
    open_ = np.ones(items, dtype=np.bool_)
    open_[history.seen] = False
    taken = np.zeros(items, dtype=np.bool_)
    taken[after.item[(after.user == user) & (after.strength > 0)]] = True
    return open_, taken & open_


@dataclass(slots=True)
class Outcome:
    """What a way of listing did: a row per case.

    `histories` counts the items with influence, `lists` holds numbers of items, `gains` 1 for each that was taken, and
    `ideal` as many ones as were taken.
    """

    users: list[int] = field(default_factory=list)
    histories: list[int] = field(default_factory=list)
    lists: list[NDArray[np.int64]] = field(default_factory=list)
    gains: list[list[float]] = field(default_factory=list)
    ideal: list[list[float]] = field(default_factory=list)

    def add(self, case: Case, listing: Listing, vectors: NDArray[np.float32]) -> None:
        """List for one case and keep what was hit."""
        own = len(case.history.liked)
        numbers, _, _ = listing.pick(case.features, case.open, vectors, k=K, own_items=own)
        self.users.append(case.user)
        self.histories.append(own)
        self.lists.append(numbers)
        self.gains.append(case.taken[numbers].astype(float).tolist())
        self.ideal.append([1.0] * int(case.taken.sum()))

    def ndcg(self) -> list[float]:
        """Return nDCG at K of each case, from 0 to 1."""
        return ndcg(self.gains, self.ideal, k=K)

    def hits(self) -> list[float]:
        """Return for each case 1 where at least one listed item was taken, else 0."""
        return [float(any(row)) for row in self.gains]

    def coverage(self, items: int) -> float:
        """Return the share of the catalogue that appears in at least one list."""
        return len(np.unique(np.concatenate(self.lists))) / items if self.lists else 0.0

    def metrics(self, items: int, *, seed: int) -> dict[str, Metric]:
        """Return the figures with 95 % intervals; users, who may come in several windows, are drawn whole."""
        share = self.coverage(items)
        return {
            f"ndcg@{K}": interval(self.ndcg(), seed=seed, groups=self.users),
            f"hit_rate@{K}": interval(self.hits(), seed=seed, groups=self.users),
            f"coverage@{K}": Metric(share, share, share, len(self.lists)),
        }


def difference(ours: Outcome, theirs: Outcome, *, seed: int) -> dict[str, Metric]:
    """Return ours minus theirs, paired by case, users drawn whole."""
    pairs: Mapping[str, tuple[list[float], list[float]]] = {
        f"ndcg@{K}": (ours.ndcg(), theirs.ndcg()),
        f"hit_rate@{K}": (ours.hits(), theirs.hits()),
    }
    return {name: paired(a, b, seed=seed, groups=ours.users) for name, (a, b) in pairs.items()}
