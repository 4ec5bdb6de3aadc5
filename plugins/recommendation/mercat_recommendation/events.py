"""What users did, as columns in the order of time, and how rows of the store become that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mercat.values import Interaction

DAY_S = 86_400.0
KIND_STRENGTH: Mapping[str, float] = {
    "view": 1.0,
    "click": 1.0,
    "rate": 1.0,
    "like": 1.5,
    "comment": 1.5,
    "share": 2.0,
    "cart": 2.0,
    "buy": 3.0,
}
"""How much an event of each kind counts. Rows of other kinds are counted and left out."""


@dataclass(frozen=True, slots=True)
class Log:
    """Events by time: equal times keep the order in which they arrived. All arrays have one entry per event.

    `user` and `item` are numbers (positions in `users` and in the catalogue), `at` Unix seconds, `weight` the row's own
    (a rating, say), `strength` what its kind counts; 0 for an event that says no (weight <= 0): seen, of no influence.
    """

    users: tuple[str, ...]
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    at: NDArray[np.float64]
    weight: NDArray[np.float32]
    strength: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.at)

    def before(self, at: float) -> Log:
        """Return the events strictly before a time."""
        return self.part(0, int(np.searchsorted(self.at, at, side="left")))

    def between(self, start: float, end: float) -> Log:
        """Return the events from `start` on and before `end`."""
        low, high = np.searchsorted(self.at, [start, end], side="left")
        return self.part(int(low), int(high))

    def part(self, start: int, end: int) -> Log:
        """Return the events at the positions from `start` on and before `end`."""
        return Log(
            self.users,
            self.user[start:end],
            self.item[start:end],
            self.at[start:end],
            self.weight[start:end],
            self.strength[start:end],
        )

    def by_user(self) -> dict[int, NDArray[np.int64]]:
        """Return the positions of each user's events, oldest first. Each has shape (events of the user,)."""
        order = np.argsort(self.user, kind="stable")
        numbers, starts = np.unique(self.user[order], return_index=True)
        return dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)) if len(order) else {}


def build_log(
    rows: Iterable[Interaction],
    items: Mapping[str, int],
    *,
    strengths: Mapping[str, float] = KIND_STRENGTH,
    born: Mapping[str, float] | None = None,
) -> tuple[Log, Counter[str]]:
    """Return the log of rows in order of arrival, and how many rows were left out by reason.

    `items` numbers the catalogue; `born` says when an item came to be (Unix seconds): events before that are left out,
    as are events of unknown items and kinds.
    """
    rejected: Counter[str] = Counter()
    users: dict[str, int] = {}
    columns: list[tuple[int, int, float, float, float]] = []
    for row in rows:
        reason = _refusal(row, items, strengths, born)
        if reason:
            rejected[reason] += 1
            continue
        number = users.setdefault(row.user_id, len(users))
        strength = strengths[row.kind] if row.weight > 0 else 0.0
        columns.append((number, items[row.item_id], row.at.timestamp(), row.weight, strength))
    return _sorted(tuple(users), columns), rejected


def _refusal(
    row: Interaction, items: Mapping[str, int], strengths: Mapping[str, float], born: Mapping[str, float] | None
) -> str:
    if row.kind not in strengths:
        return "unknown kind"
    if row.item_id not in items:
        return "unknown item"
    if not row.user_id:
        return "no user"
    if born is not None and row.at.timestamp() < born.get(row.item_id, -np.inf):
        return "before the item existed"
    return ""


def joined(old: Log, new: Log) -> Log:
    """Return both logs as one, users numbered as in `old`; at equal times the old events come first."""
    numbers = {name: number for number, name in enumerate(old.users)}
    turned = np.array([numbers.setdefault(name, len(numbers)) for name in new.users], dtype=np.int64)
    at = np.concatenate([old.at, new.at])
    order = np.argsort(at, kind="stable")
    return Log(
        tuple(numbers),
        np.concatenate([old.user, turned[new.user] if len(new) else new.user])[order],
        np.concatenate([old.item, new.item])[order],
        at[order],
        np.concatenate([old.weight, new.weight])[order],
        np.concatenate([old.strength, new.strength])[order],
    )


def _sorted(users: tuple[str, ...], columns: list[tuple[int, int, float, float, float]]) -> Log:
    if not columns:
        none = np.zeros(0)
        whole, small = none.astype(np.int64), none.astype(np.float32)
        return Log(users, whole, whole, none, small, small)
    user, item, at, weight, strength = (np.array(column) for column in zip(*columns, strict=True))
    order = np.argsort(at, kind="stable")
    return Log(
        users,
        user[order].astype(np.int64),
        item[order].astype(np.int64),
        at[order].astype(np.float64),
        weight[order].astype(np.float32),
        strength[order].astype(np.float32),
    )
