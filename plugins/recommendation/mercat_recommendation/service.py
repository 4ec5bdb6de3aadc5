"""The service `recommendation`: who asks, what may be shown, in which order, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from mercat.artifacts import Artifacts
from mercat.encoders.base import Encoder
from mercat.errors import ConfigError, DataError
from mercat.indexes.base import IndexFactory
from mercat.services import Service
from mercat.store import Store
from mercat_recommendation.candidates import INDEX, POPULAR, TIED, Candidates, merged, questions, tied
from mercat_recommendation.events import DAY_S, Log
from mercat_recommendation.features import History, both, personal, personal_of_some, popular
from mercat_recommendation.item_index import ItemIndex
from mercat_recommendation.listing import Listing
from mercat_recommendation.live import Live, View
from mercat_recommendation.notes import notes_for
from mercat_recommendation.ranker import popularity_blend
from mercat_recommendation.reasons import reason_for
from mercat_recommendation.spread import pool_size, top
from mercat_recommendation.values import RankedItem, Ranking, RankRequest

_SKEW_S = 300.0  # clocks of those who send events may be ahead by so much
_LARGEST = 10_000


@dataclass(frozen=True, slots=True)
class _Moment:
    """What holds for everybody at one time.

    `log` ends just after `at` (Unix seconds). `shared` has shape (features.SHARED, items); `popularity`, the score of
    who has no history, and `week`, events in the last 7 days, have shape (items,).
    """

    log: Log
    at: float
    shared: NDArray[np.float32]
    popularity: NDArray[np.float32]
    week: NDArray[np.float64]


class Recommender(Service[RankRequest, Ranking]):
    """Ranks the items of `catalogue` for a user or a visitor, with a reason for each.

    `artifact` names a ranker made by the recipe `recommendation/ranker` with the same `encoder`; `catalogue` and
    `events` are collections of the store, followed at every question: a new event, item or version counts in the next
    answer, and items that came after training are placed by their text. Who has no history gets what is popular, and
    is told so (`abstained`). `diversity` in [0, 1] replaces the recipe's own. `name` is that of the service's section.

    With an `index`, which is kept in step with the catalogue, a request with more than `candidates` open items scores
    only so many of them: near by text, popular of late, tied to what was touched. Without one every item is scored.
    Raises ConfigError for a diversity or a number of candidates out of range.
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
        index: IndexFactory | None = None,
        candidates: int = 500,
        diversity: float | None = None,
        section_name: str = "shop",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if diversity is not None and not 0 <= diversity <= 1:
            raise ConfigError(f"The ranker '{artifact}' has diversity {diversity:g}", "From 0 to 1", "diversity = 0.2")
        if candidates < 1:
            raise ConfigError(
                f"The ranker '{artifact}' scores {candidates} candidates", "1 or more", "candidates = 500"
            )
        self._index = ItemIndex(index, encoder, collection=catalogue) if index is not None else None
        self.live = Live(
            store, artifacts, encoder, artifact=artifact, catalogue=catalogue, events=events, index=self._index
        )
        self._candidates, self.diversity, self._clock, self.name = candidates, diversity, clock, section_name

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
        open_, removed = _open(view, moment, history, request)
        own = len(history.liked)
        items: list[RankedItem] = []
        for some in _in_order(view, open_, request) if not own else [open_]:
            if len(items) < request.k:
                items += self._listed(view, moment, history, some, request, k=request.k - len(items))
        return Ranking(
            tuple(item.item_id for item in items),
            view.model.hit_rate(own) if items else 0.0,
            abstained=not own or not items,
            reasons=notes_for(
                user=request.user_id,
                own=own,
                found=len(items),
                wanted=request.k,
                removed=removed,
                unknown=unknown,
                locale=request.locale,
            ),
            items=tuple(items),
            removed=removed,
        )

    def _listed(
        self, view: View, moment: _Moment, history: History, open_: NDArray[np.bool_], request: RankRequest, *, k: int
    ) -> list[RankedItem]:
        """Choose candidates among the open items, score them, and list at most `k` with their reasons."""
        own = len(history.liked)
        found = self._found(view, moment, history, open_, k=k)
        features = both(moment.shared, self._personal(view, history, found))
        listing = view.model.listing if own else Listing(popularity_blend(), diversity=view.model.way.diversity)
        wanted = request.diversity if request.diversity is not None else self.diversity
        numbers, scores, came = listing.pick(features, found.open, view.vectors, k=k, own_items=own, diversity=wanted)
        sources = {number: "discovery" if number in came else "blend" if own else "popular" for number in numbers}
        return [
            _item(
                view,
                moment,
                int(number),
                history,
                score=float(scores[number]),
                parts=listing.blend.parts(features[number]),
                source=sources[number],
                found_by=found.found_by.get(int(number), ()),
                locale=request.locale,
            )
            for number in numbers
        ]

    def _personal(self, view: View, history: History, found: Candidates) -> NDArray[np.float32]:
        if view.moments is None or len(view.catalogue) <= self._candidates:
            return personal(history, view.ties, view.catalogue, view.vectors)
        some = np.flatnonzero(found.open)
        return personal_of_some(history, view.ties, view.catalogue, view.vectors, some=some, moments=view.moments)

    def _found(self, view: View, moment: _Moment, history: History, open_: NDArray[np.bool_], *, k: int) -> Candidates:
        """Return what is scored: all open items where they are few, else the best of three sources."""
        size = max(self._candidates, pool_size(k))
        if self._index is None or int(open_.sum()) <= size:
            return Candidates(open_)
        lists = {POPULAR: top(moment.popularity, open_, size)}
        if len(history.liked):
            asked = questions(history, view.vectors)
            lists = {
                TIED: tied(history, view.ties, open_, size=size),
                INDEX: self._index.nearest(asked, open_, view.catalogue, size=size),
                **lists,
            }
        return merged(lists, size=size, items=len(open_))


def _item(
    view: View,
    moment: _Moment,
    number: int,
    history: History,
    *,
    score: float,
    parts: Mapping[str, float],
    source: str,
    found_by: Sequence[str],
    locale: str,
) -> RankedItem:
    parts = {name: round(value, 4) for name, value in parts.items() if value}
    reason = reason_for(
        number,
        items=view.catalogue.items,
        liked=history.liked,
        parts=parts,
        ties=view.ties,
        vectors=view.vectors,
        week=moment.week,
        locale=locale,
    )
    item = view.catalogue.items[number]
    return RankedItem(item.id, score, reason.text, item.title, source, tuple(reason.because), parts, tuple(found_by))


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
    shared = popular(log, view.catalogue, at=at)
    weights = popularity_blend().weights[: len(shared)]
    return _Moment(log, at, shared, np.asarray(weights @ shared, dtype=np.float32), week)


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


def _in_order(view: View, open_: NDArray[np.bool_], request: RankRequest) -> list[NDArray[np.bool_]]:
    """Return the open items that fit the request's context and then the others; all at once where nothing fits."""
    context = {key: value for key, value in request.context.items() if isinstance(value, str | int | float | list)}
    if not context:
        return [open_]
    fitting = open_ & view.catalogue.passing(context)
    return [fitting, open_ & ~fitting] if fitting.any() else [open_]
