"""The service `recommendation`: who asks, what may be shown, in which order, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import Artifacts
from mercat.encoders.base import Encoder
from mercat.errors import ConfigError, DataError
from mercat.services import Service
from mercat.store import Store
from mercat_recommendation.events import DAY_S, Log
from mercat_recommendation.features import History, both, personal, popular
from mercat_recommendation.listing import Listing
from mercat_recommendation.live import Live, View
from mercat_recommendation.ranker import popularity_blend
from mercat_recommendation.reasons import reason_for
from mercat_recommendation.values import RankedItem, Ranking, RankRequest

_SKEW_S = 300.0  # clocks of those who send events may be ahead by so much
_LARGEST = 10_000


@dataclass(frozen=True, slots=True)
class _Moment:
    """What holds for everybody at one time."""

    log: Log
    at: float
    shared: NDArray[np.float32]
    week: NDArray[np.float64]


class Recommender(Service[RankRequest, Ranking]):
    """Ranks the items of `catalogue` for a user or a visitor, with a reason for each.

    `artifact` names a ranker made by the recipe `recommendation/ranker` with the same `encoder`; `catalogue` and
    `events` are collections of the store, followed at every question: a new event, item or version counts in the next
    answer, and items that came after training are placed by their text. Who has no history gets what is popular, and
    is told so (`abstained`). `diversity` replaces the recipe's own.
    """

    def __init__(
        self,
        store: Store,
        artifacts: Artifacts,
        encoder: Encoder,
        *,
        artifact: str,
        catalogue: str,
        events: str,
        diversity: float | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if diversity is not None and not 0 <= diversity <= 1:
            raise ConfigError(f"The ranker '{artifact}' has diversity {diversity:g}", "From 0 to 1", "diversity = 0.2")
        self.live = Live(store, artifacts, encoder, artifact=artifact, catalogue=catalogue, events=events)
        self._diversity, self._clock = diversity, clock

    def answer_many(self, requests: Sequence[RankRequest]) -> list[Ranking]:
        """Return one ranking per request. Errors: DataError for a k or a diversity out of bounds."""
        if not requests:
            return []
        for request in requests:
            _check(request)
        view, moments = self.live.view(), dict[float, _Moment]()
        now = self._clock().timestamp()
        answers = []
        for request in requests:
            at = request.at.timestamp() if request.at else _latest(view.log, now)
            if at not in moments:
                moments[at] = _moment(view, at)
            answers.append(self._rank(view, moments[at], request))
        return answers

    def _rank(self, view: View, moment: _Moment, request: RankRequest) -> Ranking:
        history, unknown = _history(view, moment.log, request)
        features = both(moment.shared, personal(history, view.ties, view.catalogue, view.vectors))
        open_, removed = _open(view, moment, history, request)
        own = len(history.liked)
        listing = view.model.listing if own else Listing(popularity_blend(), diversity=view.model.way.diversity)
        wanted = request.diversity if request.diversity is not None else self._diversity
        first = _preferred(view, open_, request) if not own else open_
        numbers, scores, came = listing.pick(
            features, first, view.vectors, k=request.k, own_items=own, diversity=wanted
        )
        if len(numbers) < request.k and first is not open_:
            rest = open_.copy()
            rest[numbers] = False
            more, _, _ = listing.pick(
                features, rest, view.vectors, k=request.k - len(numbers), own_items=own, diversity=wanted
            )
            numbers = np.concatenate([numbers, more])
        items = [
            self._item(view, moment, int(number), history, features, scores, listing, came, request)
            for number in numbers
        ]
        return Ranking(
            tuple(item.item_id for item in items),
            view.model.hit_rate(own) if items else 0.0,
            abstained=not own or not items,
            reasons=_notes(own, len(items), request, removed, unknown),
            items=tuple(items),
            removed=removed,
        )

    def _item(
        self,
        view: View,
        moment: _Moment,
        number: int,
        history: History,
        features: NDArray[np.float32],
        scores: NDArray[np.float32],
        listing: Listing,
        came: frozenset[int],
        request: RankRequest,
    ) -> RankedItem:
        parts = {name: round(value, 4) for name, value in listing.blend.parts(features[number]).items() if value}
        reason = reason_for(
            number,
            items=view.catalogue.items,
            liked=history.liked,
            parts=parts,
            ties=view.ties,
            vectors=view.vectors,
            week=moment.week,
            locale=request.locale,
        )
        item = view.catalogue.items[number]
        source = "discovery" if number in came else "blend" if len(history.liked) else "popular"
        return RankedItem(item.id, float(scores[number]), reason.text, item.title, source, tuple(reason.because), parts)


def _check(request: RankRequest) -> None:
    if not 1 <= request.k <= _LARGEST:
        raise DataError(f"A ranking of {request.k} items was asked for", f"k is from 1 to {_LARGEST:,}", "k = 10")
    if request.diversity is not None and not 0 <= request.diversity <= 1:
        raise DataError(f"A diversity of {request.diversity:g} was asked for", "It is from 0 to 1", "diversity = 0.2")


def _latest(log: Log, now: float) -> float:
    """Return now, or the latest event when the clock of its sender was a little ahead."""
    end = int(np.searchsorted(log.at, now + _SKEW_S, side="right"))
    return max(now, float(log.at[end - 1])) if end else now


def _moment(view: View, at: float) -> _Moment:
    at = float(np.nextafter(at, np.inf))  # what happened at that very time counts
    log = view.log.before(at)
    size = len(view.catalogue)
    recent = log.between(at - 7 * DAY_S, at)
    week = np.bincount(recent.item[recent.strength > 0], minlength=size).astype(np.float64)
    return _Moment(log, at, popular(log, view.catalogue, at=at), week)


def _history(view: View, log: Log, request: RankRequest) -> tuple[History, int]:
    """Return stored events and then the items of this session, and how many of those are not in the catalogue."""
    number = view.users.get(request.user_id, -1) if request.user_id else -1
    rows = np.flatnonzero(log.user == number)
    session = [view.catalogue.numbers[item] for item in request.items if item in view.catalogue.numbers]
    items = np.concatenate([log.item[rows], np.array(session, dtype=np.int64)])
    strength = np.concatenate([log.strength[rows], np.ones(len(session), dtype=np.float32)])
    return History.from_items(items, strength), len(request.items) - len(session)


def _open(
    view: View, moment: _Moment, history: History, request: RankRequest
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Return which items may be shown, and how many each rule took out, rule by rule."""
    seen = np.ones(len(view.catalogue), dtype=np.bool_)
    seen[history.seen] = False
    blocked = np.ones_like(seen)
    blocked[[view.catalogue.numbers[item] for item in request.blocked if item in view.catalogue.numbers]] = False
    rules = {
        "seen": seen,
        "not yet there": ~(view.catalogue.born > moment.at),
        "out of stock": view.in_stock,
        "blocked": blocked,
        "filters": view.catalogue.passing(request.filters) if request.filters else np.ones_like(seen),
    }
    left, removed = np.ones(len(view.catalogue), dtype=np.bool_), {}
    for name, passing in rules.items():
        count = int((left & ~passing).sum())
        left &= passing
        if count:
            removed[name] = count
    return left, removed


def _preferred(view: View, open_: NDArray[np.bool_], request: RankRequest) -> NDArray[np.bool_]:
    """Return the open items that fit the request's context, all of them where nothing fits."""
    context = {key: value for key, value in request.context.items() if isinstance(value, str | int | float | list)}
    if not context:
        return open_
    fitting = open_ & view.catalogue.passing(context)
    return fitting if fitting.any() else open_


def _notes(own: int, found: int, request: RankRequest, removed: dict[str, int], unknown: int) -> list[str]:
    notes = []
    if not own:
        who = f"Nothing is known of '{request.user_id}'" if request.user_id else "Nothing was touched yet"
        notes.append(f"{who}: this is what is popular")
    if unknown:
        notes.append(f"{unknown} of the items given are not in the catalogue")
    if found < request.k:
        why = ", ".join(f"{count} {name}" for name, count in removed.items()) or "the catalogue has no more"
        notes.append(f"{found} of {request.k} items: {why}")
    return notes
