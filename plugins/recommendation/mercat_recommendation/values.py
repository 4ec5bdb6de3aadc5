"""What is asked of a recommender and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mercat.values import Answer, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class RankRequest(Request):
    """Rank the catalogue for somebody.

    `user_id` is "" for a visitor without an account; `items` are what they touched in this session, oldest first, and
    count after the user's stored events. `filters` maps a key of the items' metadata (or `category`, `locale`,
    `source`) to the value, or list of values, that an item must have; `max_price` and `min_price` are bounds.
    `diversity` in [0, 1] trades score against likeness; None takes the service's own.
    """

    user_id: str = ""
    items: Sequence[str] = ()
    k: int = 10
    filters: Mapping[str, Any] = field(default_factory=dict)
    blocked: Sequence[str] = ()
    diversity: float | None = None


@dataclass(frozen=True, slots=True)
class RankedItem:
    """One place of a ranking. `parts` are the shares of `score` by feature; `because` the user's items behind it.

    `source` says what gave it its place: "blend" (all features), "discovery" (a place kept for the user's own features
    alone), or "popular" (nothing is known of the user). `found_by` says which sources made it a candidate ("index",
    "popular", "tied"); it is empty where all items were scored.
    """

    item_id: str
    score: float
    reason: str = ""
    title: str = ""
    source: str = "blend"
    because: Sequence[str] = ()
    parts: Mapping[str, float] = field(default_factory=dict)
    found_by: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Ranking(Answer):
    """The ranked items; `value` is their ids in order.

    `confidence` is the share of validation users with as much history who took at least one of ten. `removed` counts
    the items that each rule took out.
    """

    items: Sequence[RankedItem] = field(default=(), kw_only=True)
    removed: Mapping[str, int] = field(default_factory=dict, kw_only=True)
